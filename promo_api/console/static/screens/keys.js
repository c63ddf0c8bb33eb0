// @ts-check
// The API keys of the company.

import { api } from "../core/api.js";
import { bodySchema } from "../core/contract.js";
import { formatTime } from "../core/format.js";
import { text } from "../core/text.js";
import { ask, openForm } from "../parts/action.js";
import { badge, button, head, hint, makeColumns, makeLive, stack, timeCell, valueNames, wholeTable } from "../parts/blocks.js";
import { showSecret } from "../parts/dialog.js";

const CREATE = "business_keys.create_key";

/** @param {Visit} visit */
export async function keysScreen({ signal }) {
	const columns = makeColumns({
		name: ({ name, prefix }) => [name, hint(`${prefix}…`)],
		scopes: ({ scopes }) => valueNames("scopes", scopes),
		created: timeCell("created_at"),
		last_used: timeCell("last_used_at"),
		expires_at: ({ expires_at }) => expires_at && [formatTime(expires_at), " ", Date.parse(expires_at) <= Date.now() && badge("expired")],
		actions: ({ id, name }) => button("keys.revoke.button", () =>
			ask("keys.revoke", { name }, () => api("business_keys.delete_key", { path: { id } }), refresh), "danger"),
	});
	const live = makeLive("card list", (keys) => wholeTable("keys", columns, keys));
	const refresh = async () => live.show((await api("business_keys.list_keys", { signal })).data);
	await refresh();
	return stack(head("keys.title", button("keys.create.button", () => create(refresh), "primary")), live.element);
}

/** @param {() => unknown} refresh */
function create(refresh) {
	openForm("keys.create", {
		schema: bodySchema(CREATE),
		submit: (body) => api(CREATE, { body }),
		done: ({ data }) => {
			showSecret(text("keys.key"), text("keys.once"), data.key);
			refresh();
		},
	});
}
