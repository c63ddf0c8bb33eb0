// @ts-check
// The overview: activity, and warnings.

import { api } from "../core/api.js";
import { h } from "../core/dom.js";
import { poll } from "../core/poll.js";
import { href } from "../core/router.js";
import { text } from "../core/text.js";
import { makeActivity } from "../parts/activity.js";
import { findAttention, MAX_PROMOS } from "../parts/attention.js";
import { card, entryList, head, hint, makeLive, stack } from "../parts/blocks.js";

const REFRESH_MS = 15_000;
// It reads up to 1,000 promos.
const ATTENTION_MS = 60_000;
const ENTRIES = 15;

/** @param {Visit} visit */
export async function overviewScreen({ signal }) {
	const activity = makeActivity(signal);
	const attention = makeLive("", attentionContent);
	const welcome = h("section", { className: "empty card" }, h("h2", {}, text("overview.welcome")), h("p", {}, text("overview.first")),
		h("a", { className: "button primary", href: href("/promos/new") }, text("overview.create")));
	const content = stack();

	const check = async () => attention.show(await findAttention(signal));
	async function refresh() {
		const [{ data }] = await Promise.all([api("business_promos.list_promos", { query: { limit: 1 }, signal }), activity.refresh()]);
		welcome.hidden = data.length > 0;
		content.hidden = !welcome.hidden;
	}

	await Promise.all([refresh(), check()]);
	content.append(activity.tiles, h("div", { className: "columns" },
		card("overview.activity", h("div", { className: "actions" }, activity.switches), activity.chart),
		card("overview.attention", poll(signal, ATTENTION_MS, check), attention.element)));
	return stack(head("overview.title", poll(signal, REFRESH_MS, refresh)), welcome, content);
}

/** @param {{ entries: Entry[], isPartial: boolean }} found */
function attentionContent({ entries, isPartial }) {
	return [
		entries.length === 0 ? h("p", { className: "muted" }, text("overview.nothing")) : entryList(entries.slice(0, ENTRIES)),
		entries.length > ENTRIES && hint(text("overview.more", { n: entries.length - ENTRIES })),
		isPartial && hint(text("overview.partial", { n: MAX_PROMOS })),
	];
}
