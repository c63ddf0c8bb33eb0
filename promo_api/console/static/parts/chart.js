// @ts-check
// A chart of columns over time, drawn as SVG, with its numbers as a table.

import { fill, h, svg } from "../core/dom.js";
import { formatNumber } from "../core/format.js";
import { text } from "../core/text.js";
import { makeTable } from "./table.js";

const HEIGHT = 240;
const MARGIN = { top: 10, right: 4, bottom: 26, left: 44 };
const TICKS = 4;
const LABEL_WIDTH = 85;

/**
 * Make a chart.
 * @param {ChartData} data
 * @returns {{ element: HTMLElement, update: (data: ChartData) => void }}
 */
export function makeChart(data) {
	let current = data;
	let isTable = false;
	const plot = h("div", { className: "plot" });
	const legend = h("ul", { className: "legend" });
	const toggle = h("button", { type: "button", className: "plain", onclick: () => show(!isTable) });
	const element = h("figure", { className: "chart" }, h("figcaption", {}, legend, toggle), plot);

	function draw() {
		fill(legend, current.series.length > 1 && current.series.map(legendEntry));
		fill(plot, isTable ? table(current) : picture(current, plot));
	}
	/** @param {boolean} table */
	function show(table) {
		isTable = table;
		toggle.textContent = text(isTable ? "chart.chart" : "chart.table");
		draw();
	}

	// Drawn in pixels, so that texts keep their size.
	let width = 0;
	new ResizeObserver(() => {
		if (plot.clientWidth !== width && !isTable) {
			width = plot.clientWidth;
			draw();
		}
	}).observe(plot);
	show(false);
	return {
		element,
		update(changed) {
			if (JSON.stringify(changed) !== JSON.stringify(current)) {
				current = changed;
				draw();
			}
		},
	};
}

/** @param {string} name @param {number} index */
function legendEntry(name, index) {
	return h("li", {}, h("span", { className: `swatch series-${index}` }), name);
}

/** @param {ChartData} data */
function table({ title, series, buckets }) {
	/** @type {Column[]} */
	const columns = series.map((name, index) =>
		({ title: name, isNumber: true, cell: (bucket) => formatNumber(bucket.values[index]) }));
	return makeTable(title, [{ title: text("chart.time"), cell: (bucket) => bucket.label }, ...columns], buckets);
}

/** @param {ChartData} data @param {HTMLElement} plot */
function picture(data, plot) {
	const width = Math.max(plot.clientWidth, 200);
	const isStacked = data.isStacked ?? true;
	const heights = data.buckets.map(({ values }) => (isStacked ? total(values) : Math.max(...values)));
	const top = roundUp(Math.max(...heights, TICKS));
	const inner = { width: width - MARGIN.left - MARGIN.right, height: HEIGHT - MARGIN.top - MARGIN.bottom };
	/** @param {number} value */
	const y = (value) => MARGIN.top + inner.height * (1 - value / top);
	const step = inner.width / Math.max(data.buckets.length, 1);
	const drawing = svg("svg", {
		width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, role: "img",
		"aria-label": text("chart.summary", { title: data.title, total: formatNumber(total(heights)) }),
	}, grid(top, y, width), labels(data.buckets, step), data.buckets.flatMap(({ values }, index) => column(values, index, isStacked, step, y)));
	return [drawing, total(heights) === 0 && h("p", { className: "muted" }, text("chart.empty")), tooltip(drawing, data, step, plot)];
}

/** @param {number} top @param {(value: number) => number} y @param {number} width */
function grid(top, y, width) {
	return Array.from({ length: TICKS + 1 }, (_, index) => (top * index) / TICKS).flatMap((value) => [
		svg("line", { class: "grid", x1: MARGIN.left, x2: width - MARGIN.right, y1: y(value), y2: y(value) }),
		svg("text", { class: "tick", x: MARGIN.left - 8, y: y(value) + 4, "text-anchor": "end" }, formatNumber(value)),
	]);
}

/** @param {ChartData["buckets"]} buckets @param {number} step */
function labels(buckets, step) {
	const every = Math.max(1, Math.ceil(LABEL_WIDTH / step));
	// Those at the ends would be cut off.
	return buckets.map(({ label, tick = label }, index) => (index % every === Math.floor(every / 2) && index + every / 2 <= buckets.length
		? svg("text", { class: "tick", x: center(index, step), y: HEIGHT - 6, "text-anchor": "middle" }, tick)
		: null));
}

/** @param {number[]} values @param {number} index @param {boolean} isStacked @param {number} step @param {(value: number) => number} y */
function column(values, index, isStacked, step, y) {
	const gap = step > 6 ? step * 0.2 : step * 0.1;
	let below = 0;
	return values.map((value, series) => {
		const bottom = y(below);
		const top = y(below + value);
		below += isStacked ? value : 0;
		return svg("rect", { class: `series-${series}`, x: MARGIN.left + index * step + gap / 2, y: top, width: step - gap, height: bottom - top });
	});
}

/**
 * Make the tooltip, which follows the pointer from column to column.
 * @param {SVGSVGElement} drawing @param {ChartData} data @param {number} step @param {HTMLElement} plot
 */
function tooltip(drawing, { series, buckets }, step, plot) {
	const tip = h("div", { className: "tooltip", hidden: true });
	drawing.addEventListener("pointermove", (event) => {
		const index = Math.floor((event.clientX - drawing.getBoundingClientRect().left - MARGIN.left) / step);
		const bucket = buckets[index];
		tip.hidden = bucket === undefined;
		if (bucket !== undefined) {
			fill(tip, h("strong", {}, bucket.label), series.map((name, each) => h("div", {}, name, " ", formatNumber(bucket.values[each]))));
			tip.style.left = `${Math.max(0, Math.min(center(index, step) - tip.offsetWidth / 2, plot.clientWidth - tip.offsetWidth))}px`;
		}
	});
	drawing.addEventListener("pointerleave", () => { tip.hidden = true; });
	return tip;
}

/** @param {number} index @param {number} step */
const center = (index, step) => MARGIN.left + (index + 0.5) * step;

/** @param {number[]} values */
const total = (values) => values.reduce((sum, value) => sum + value, 0);

/** Return the next number whose quarters are round. @param {number} value */
function roundUp(value) {
	const power = 10 ** Math.floor(Math.log10(value / TICKS));
	return TICKS * power * (/** @type {number} */ ([1, 2, 2.5, 5, 10].find((factor) => TICKS * power * factor >= value && Number.isInteger(power * factor))));
}
