// @ts-check
// Horizontal bars, such as countries by their activations.

import { h, svg } from "../core/dom.js";
import { formatNumber } from "../core/format.js";
import { makeTable } from "./table.js";

/**
 * Make bars. They are a table whose rows have a picture, so that screen readers read the numbers.
 * @param {{ title: string, columns: [string, string], rows: { label: string, value: number, detail?: string }[] }} data
 */
export function makeBars({ title, columns, rows }) {
	const largest = Math.max(...rows.map(({ value }) => value), 1);
	return h("div", { className: "bars" }, makeTable(title, [
		{ title: columns[0], cell: ({ label, value }) => [label, bar(value / largest)] },
		{ title: columns[1], isNumber: true, cell: ({ value, detail }) => [formatNumber(value), h("span", { className: "muted" }, " ", detail)] },
	], rows));
}

/** @param {number} part from 0 to 1 */
export function bar(part) {
	return svg("svg", { class: "bar", "aria-hidden": "true", width: "100%", height: 6 },
		svg("rect", { class: "track", width: "100%", height: 6, rx: 3 }),
		svg("rect", { class: "series-0", width: `${Math.min(100, part * 100)}%`, height: 6, rx: 3 }));
}
