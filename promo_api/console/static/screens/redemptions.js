// @ts-check
// The redemptions of the company: codes are looked up and redeemed, redemptions confirmed, released and voided.

import { api } from "../core/api.js";
import { namedSchema, parameterSchema } from "../core/contract.js";
import { fill, h } from "../core/dom.js";
import { formatTime } from "../core/format.js";
import { go, href } from "../core/router.js";
import { text } from "../core/text.js";
import { makeForm } from "../forms/form.js";
import { ask } from "../parts/action.js";
import { badge, button, head, hint, link, makeColumns, stack, stateTabs, timeCell } from "../parts/blocks.js";
import { makeCodeCheck } from "../parts/code-check.js";
import { makeList } from "../parts/table.js";

const LIST = "business_redemptions.list_redemptions";
const PATH = "/redemptions";
/** @type {Record<string, string[]>} what can be done in a state */
const ACTIONS = { held: ["redemptions.confirm", "redemptions.release"], expired: ["redemptions.confirm"], confirmed: ["redemptions.void"] };

/** @param {Visit} visit */
export async function redemptionsScreen({ query, signal }) {
	const filters = Object.fromEntries(["state", "order_ref", "promo_id"].map((name) => [name, query.get(name) ?? ""]));
	const states = /** @type {any} */ (namedSchema("RedemptionState"))["x-extensible-enum"];
	const refresh = () => list.refresh();
	const list = makeList({
		operationId: LIST,
		options: { query: filters, signal },
		caption: text("redemptions.title"),
		columns: makeColumns({
			code: ({ code }) => h("span", { className: "code" }, code),
			promo: makePromoLinks(signal),
			state: stateCell,
			order_ref: ({ order_ref }) => order_ref,
			created: timeCell("created_at"),
			actions: ({ id, code, state }) => h("div", { className: "actions" }, ACTIONS[state]?.map((key) => button(`${key}.button`, () =>
				ask(key, { code }, () => api(`business_${key}_redemption`, { path: { id } }), refresh, state === "confirmed")))),
		}),
		empty: text(Object.values(filters).join("") ? "redemptions.none" : "redemptions.empty"),
	});
	await refresh();
	return stack(head("redemptions.title"), makeCodeCheck(signal, refresh), h("section", { className: "card" },
		stateTabs(PATH, states, filters), orderFilter(filters),
		(filters.promo_id || filters.order_ref) && h("a", { href: href(PATH) }, text("redemptions.show_all")), list.element));
}

/** @param {Record<string, string>} filters */
function orderFilter(filters) {
	const { element } = makeForm({
		schema: { required: ["order_ref"], properties: { order_ref: parameterSchema(LIST, "order_ref") } },
		values: filters,
		button: text("redemptions.filter"),
		submit: async ({ order_ref }) => go(href(PATH, { ...filters, order_ref })),
	});
	element.classList.add("filters");
	return element;
}

/** @param {any} redemption */
function stateCell({ state, held_until, confirmed_at, ended_at }) {
	const isHeld = state === "held";
	const time = formatTime(isHeld ? held_until : ended_at ?? confirmed_at);
	return [badge(state), hint(text(isHeld ? "redemptions.until" : "redemptions.since", { time }))];
}

/** Make the cell of a promo. Reading a promo returns all its codes; checking a code returns the offer. @param {AbortSignal} signal */
function makePromoLinks(signal) {
	/** @type {Map<string, Promise<string>>} */
	const offers = new Map();
	return (/** @type {{ promo_id: string, code: string }} */ { promo_id, code }) => {
		const offer = offers.get(promo_id) ?? api("business_redemptions.validate_code", { body: { promo_id, code }, signal })
			.then(({ data }) => data.promo.description);
		offers.set(promo_id, offer);
		const element = link(`/promos/${promo_id}`, "…");
		offer.catch(() => promo_id).then((description) => fill(element, description));
		return element;
	};
}
