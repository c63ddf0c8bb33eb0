// @ts-check
// The page of one promo: its offer and state, and tabs for its statistics, codes, comments and changes.

import { api, ApiError } from "../core/api.js";
import { fill, h } from "../core/dom.js";
import { href } from "../core/router.js";
import { text, valueName } from "../core/text.js";
import { ask } from "../parts/action.js";
import { badge, button, makeTabs } from "../parts/blocks.js";
import { copyText } from "../parts/dialog.js";
import { describePromo } from "../parts/summary.js";
import { changesTab } from "./promo-changes.js";
import { codesTab } from "./promo-codes.js";
import { commentsTab } from "./promo-comments.js";
import { statisticsTab } from "./promo-statistics.js";

/** @type {Record<string, (page: PromoPage) => Promise<Node[]>>} */
const TABS = { statistics: statisticsTab, codes: codesTab, comments: commentsTab, changes: changesTab };

/** @param {Visit} visit */
export async function promoScreen({ params: { id }, query, signal }) {
	const path = { id };
	const read = async () => (await api("business_promos.get_promo", { path, signal })).data;
	const promo = await read().catch((error) => error);
	if (promo instanceof ApiError && [403, 404].includes(promo.status)) {
		return h("section", { className: "empty" }, h("h1", {}, text("promo.not_found")), h("p", {}, promo.message),
			h("a", { href: href("/promos") }, text("promo.list")));
	}
	if (promo instanceof Error) {
		throw promo;
	}
	const head = makeHead(promo);
	/** @type {PromoPage} */
	const page = { path, signal, promo, refresh: async () => {
		page.promo = await read();
		head.update(page.promo);
	} };
	const names = Object.keys(TABS).filter((name) => name !== "codes" || promo.mode === "UNIQUE");
	const current = names.find((name) => name === query.get("tab")) ?? names[0];
	const screen = new DocumentFragment();
	screen.append(head.element, makeTabs(text("promo.about"), names.map((tab) =>
		({ title: text(`promo.${tab}`), path: `/promos/${id}`, query: { tab }, isCurrent: tab === current }))), ...await TABS[current](page));
	return screen;
}

/** Make the head. An update keeps its buttons, and so the focus. @param {any} promo */
function makeHead(promo) {
	const title = h("h1");
	const state = h("span");
	const summary = h("div", { className: "muted" });
	const pause = button("promo.pause.button", () => change("paused", pausing()));
	const archive = button("promo.archive.button", () => change("archived", archiving()));
	const pausing = () => (promo.paused ? "promo.continue" : "promo.pause");
	const archiving = () => (promo.archived ? "promo.restore" : "promo.archive");

	/** @param {any} changed */
	function update(changed) {
		promo = changed;
		title.textContent = promo.description;
		fill(state, badge(promo.state));
		fill(summary, describePromo(promo).map((line) => h("p", {}, line)));
		pause.textContent = text(`${pausing()}.button`);
		pause.hidden = promo.archived === true;
		archive.textContent = text(`${archiving()}.button`);
	}

	/** @param {string} flag @param {string} key */
	function change(flag, key) {
		const options = { path: { id: promo.promo_id }, body: { [flag]: !promo[flag] } };
		ask(key, {}, () => api("business_promos.update_promo", options), ({ data }) => update(data), false);
	}

	update(promo);
	const { mode, promo_common: common, promo_id: id } = promo;
	const code = common === undefined ? h("span", { className: "muted" }, valueName("mode", mode))
		: [h("strong", { className: "code" }, common), button("form.copy", () => copyText(common), "small")];
	const edit = h("a", { className: "button", href: href(`/promos/${id}/edit`) }, text("promo.edit"));
	const element = h("header", { className: "head" },
		h("div", { className: "about" }, title, h("div", { className: "actions" }, state, code), summary),
		h("div", { className: "actions" }, edit, pause, archive));
	return { element, update };
}
