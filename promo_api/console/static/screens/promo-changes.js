// @ts-check
// The audit log of a promo, in words.

import { h } from "../core/dom.js";
import { formatDate, formatNumber } from "../core/format.js";
import { findText, text, valueName } from "../core/text.js";
import { makeColumns, timeCell } from "../parts/blocks.js";
import { describeAudience } from "../parts/summary.js";
import { makeList } from "../parts/table.js";

/** @param {PromoPage} page */
export async function changesTab({ path, promo, signal }) {
	const list = makeList({
		operationId: "business_promos.list_changes",
		options: { path, signal },
		caption: text("promo.changes"),
		columns: makeColumns({
			time: timeCell("changed_at"),
			change: (entry) => describeChange(entry).map((line) => h("div", {}, line)),
			by: ({ company_id: id }) => (id === promo.company_id ? promo.company_name : id),
		}),
		empty: text("promo.no_changes"),
	});
	await list.refresh();
	return [h("section", { className: "card" }, list.element)];
}

/** @param {any} entry @returns {string[]} */
function describeChange({ event, changes }) {
	return changes === undefined ? [valueName("promo", event)] : Object.entries(changes).map(([name, { from, to }]) =>
		findText(`promo.switched.${name}.${to ?? !from}`) ?? text("promo.changed", {
			name: valueName("fields", name), from: describeValue(from), to: describeValue(to),
		}));
}

/** @param {any} value @returns {string} */
function describeValue(value) {
	if (typeof value === "object") {
		return [describeAudience(value), ...value.categories ?? []].join(", ");
	}
	if (typeof value === "number") {
		return formatNumber(value);
	}
	return /^\d{4}-\d\d-\d\d$/.test(value) ? formatDate(value) : value ?? text("promo.none");
}
