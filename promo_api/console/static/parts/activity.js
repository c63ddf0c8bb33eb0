// @ts-check
// The activations and redemptions of a company: tiles, and a chart of 30 days or 24 hours.

import { api } from "../core/api.js";
import { fill, h } from "../core/dom.js";
import { addDays, formatDate, formatHour, formatPercent, today } from "../core/format.js";
import { text } from "../core/text.js";
import { button, tile } from "./blocks.js";
import { makeChart } from "./chart.js";

const KINDS = ["activations", "redemptions"];

/** @param {AbortSignal} signal */
export function makeActivity(signal) {
	/** @type {Period[]} each is loaded together with the period before it */
	const periods = [
		{ name: "days", bucket: "day", length: 30, daysBack: 59, buckets: [] },
		{ name: "hours", bucket: "hour", length: 24, daysBack: 2, buckets: [] },
	];
	let [current] = periods;
	const tiles = h("dl", { className: "tiles" });
	const chart = makeChart(chartData(current));
	const switches = periods.map((period) => button(`overview.${period.name}`, () => show(period)));

	/** @param {Period} period */
	function show(period) {
		current = period;
		switches.forEach((each, index) => each.setAttribute("aria-pressed", String(periods[index] === current)));
		chart.update(chartData(current));
	}

	async function refresh() {
		await Promise.all(periods.map((period) => load(period, signal)));
		fill(tiles, periods.toReversed().flatMap((period) => KINDS.map((kind) => periodTile(period, kind))));
		show(current);
	}
	return { tiles, chart: chart.element, switches, refresh };
}

/** Load the buckets until now. @param {Period} period @param {AbortSignal} signal */
async function load(period, signal) {
	const query = { bucket: period.bucket, from: addDays(today(), -period.daysBack) };
	/** @type {any[]} */
	const buckets = (await api("business_series.get_company_series", { query, signal })).data.buckets;
	period.buckets = buckets.filter(({ start }) => Date.parse(start) <= Date.now()).slice(-2 * period.length);
}

/** @param {Period} period @param {string} kind */
function periodTile({ name, length, buckets }, kind) {
	const sum = (/** @type {any[]} */ part) => part.reduce((total, bucket) => total + bucket[kind], 0);
	const [now, before] = [sum(buckets.slice(-length)), sum(buckets.slice(0, -length))];
	const change = `${now > before ? "+" : ""}${formatPercent(now - before, before)}`;
	return tile(`${text(`overview.${kind}`)} · ${text(`overview.${name}`)}`, now,
		before === 0 ? text("overview.none_before") : text("overview.change", { change }));
}

/** @param {Period} period */
function chartData({ name, length, buckets }) {
	return {
		title: text("overview.activity"),
		isStacked: false,
		series: KINDS.map((kind) => text(`overview.${kind}`)),
		buckets: buckets.slice(-length).map((bucket) => ({
			label: name === "days" ? formatDate(bucket.start.slice(0, 10)) : formatHour(bucket.start),
			values: KINDS.map((kind) => bucket[kind]),
		})),
	};
}
