// @ts-check
// The list of promos.

import { alternatives, bodySchema, inOrder, parameterSchema, resolve } from "../core/contract.js";
import { fill, h, makeAlert } from "../core/dom.js";
import { formatNumber } from "../core/format.js";
import { href, replaceQuery } from "../core/router.js";
import { sentence, text } from "../core/text.js";
import { makeInput } from "../forms/inputs.js";
import { findViolation } from "../forms/violations.js";
import { bar } from "../parts/bars.js";
import { badge, labelled, stateTabs } from "../parts/blocks.js";
import { describeAudience, describeDays } from "../parts/summary.js";
import { makeList } from "../parts/table.js";

/** @typedef {Record<string, string>} Filters the parameters in the address */

const LIST = "business_promos.list_promos";
const TYPING_MS = 250;
const STATES = ["active", "scheduled", "paused", "exhausted", "expired"];

/** @param {Visit} visit */
export async function promosScreen({ query, signal }) {
	const filters = Object.fromEntries(query);
	const states = inOrder(resolve(parameterSchema(LIST, "state").items ?? {}).enum ?? [], STATES);
	const [tabs, empty] = [h("div"), h("div")];
	const total = h("p", { className: "muted", role: "status" });
	const alert = makeAlert();
	const list = makeList({
		operationId: LIST, options: { signal }, caption: text("promos.title"), columns: columns(), empty,
		onTotal: (n) => fill(total, text("promos.total", { n })),
	});
	const refresh = () => {
		const violation = filters.q ? findViolation(parameterSchema(LIST, "q"), filters.q) : null;
		fill(alert, violation && sentence(violation));
		fill(tabs, stateTabs("/promos", states, filters));
		fill(empty, emptyState(filters));
		return list.refresh({ ...filters, ...violation && { q: "" } });
	};
	const change = (/** @type {Filters} */ changed) => {
		replaceQuery(Object.assign(filters, changed));
		refresh().catch((error) => fill(alert, error.message));
	};
	await refresh();
	const screen = new DocumentFragment();
	screen.append(h("div", { className: "head" }, h("h1", {}, text("promos.title")), createLink()), tabs,
		h("section", { className: "card" }, h("div", { className: "filters" }, filterFields(filters, change)), alert, total, list.element));
	return screen;
}

/** @param {Filters} filters @param {(changed: Filters) => void} change */
function filterFields(filters, change) {
	const modes = Object.keys(alternatives(bodySchema("business_promos.create_promo")));
	const country = parameterSchema(LIST, "country").items ?? {};
	return Object.entries({ q: {}, mode: { enum: modes }, country, sort_by: parameterSchema(LIST, "sort_by") }).map(([name, schema]) => {
		const control = /** @type {HTMLInputElement} */ (makeInput(name, schema, filters[name], false).element);
		if (name === "sort_by") {
			control.children[0].textContent = text("promos.newest");
		}
		let waiting = 0;
		control.addEventListener(name === "q" ? "input" : "change", () => {
			clearTimeout(waiting);
			waiting = setTimeout(() => change({ [name]: control.value.trim() }), TYPING_MS);
		});
		return labelled(text(`promos.${name}`), control);
	});
}

/** @param {Filters} filters */
function emptyState({ sort_by: _, ...filters }) {
	return Object.values(filters).some(Boolean)
		? [h("p", {}, text("promos.no_match")), h("a", { href: href("/promos") }, text("promos.show_all"))]
		: [h("h2", {}, text("promos.none")), createLink()];
}

function createLink() {
	return h("a", { className: "button primary", href: href("/promos/new") }, text("promos.create"));
}

/** @returns {Column[]} */
function columns() {
	return [
		{ title: text("promos.offer"), cell: offer },
		{ title: text("promos.state"), cell: ({ state }) => badge(state) },
		{ title: text("promos.used"), cell: usage },
		{ title: text("promos.days"), cell: (promo) => describeDays(promo) },
		{ title: text("fields.target"), cell: ({ target }) => describeAudience(target) },
		{ title: text("promos.likes"), cell: ({ like_count: likes }) => formatNumber(likes), isNumber: true },
	];
}

/** @param {any} promo */
function offer({ promo_id: id, description, promo_common: code, codes_count: n }) {
	return h("div", { className: "offer" }, h("a", { href: href(`/promos/${id}`) }, description.trim().split("\n")[0]),
		h("span", { className: code ? "muted code" : "muted" }, code ?? text("promos.codes", { n })));
}

/** @param {any} promo */
function usage({ used_count: used, max_count: limit, codes_count: all = limit }) {
	return h("div", { className: "usage" }, text("promos.used_of", { used, all }),
		bar(used / Math.max(all, 1)));
}
