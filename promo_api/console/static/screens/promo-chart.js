// @ts-check
// The data of the chart of a promo: its periods, the names of its buckets, and its largest countries.

import { addDays, countryName, today } from "../core/format.js";
import { LANGUAGE, text } from "../core/text.js";

export const MEASURES = ["activations", "redemptions", "likes", "comments"];
/** @type {Record<string, string[]>} of each period, the default first; a response has at most 1,000 */
export const BUCKETS = {
	last_day: ["hour"], last_week: ["day", "hour"], last_month: ["day", "hour", "week"], last_year: ["month", "week", "day"],
};
/** @type {Record<string, number>} before today */
const DAYS = { last_day: 1, last_week: 6, last_month: 29, last_year: 364 };
const COUNTRIES = 5;
const DAY = /** @type {const} */ ({ day: "numeric", month: "short" });
/** @type {Record<string, Intl.DateTimeFormatOptions>} */
const LABELS = {
	hour: { ...DAY, hour: "2-digit", minute: "2-digit" }, day: { ...DAY, weekday: "short" }, week: DAY, month: { month: "short", year: "numeric" },
};

/** Return the first day of a period; a year begins with a month. @param {string} period */
export function firstDay(period) {
	const day = addDays(today(), -DAYS[period]);
	return period === "last_year" ? `${day.slice(0, 8)}01` : day;
}

/**
 * Return the data of a chart of one measure, divided by country if the buckets are.
 * @param {{ bucket: string, time_zone: string, buckets: any[] }} series @param {string} period @param {string} measure
 * @returns {ChartData}
 */
export function chartData({ bucket, time_zone: timeZone, buckets }, period, measure) {
	const begun = buckets.filter(({ start }) => Date.parse(start) <= Date.now()).slice(period === "last_day" ? -24 : 0);
	const countries = largest(begun, measure);
	const labels = new Intl.DateTimeFormat(LANGUAGE, { ...LABELS[bucket], timeZone });
	const title = text(`promo.${measure}`);
	return {
		title,
		series: [...countries.map(countryName), countries.length > 0 ? text("promo.others") : title],
		buckets: begun.map((each) => {
			const values = countries.map((country) => numbers(each).find((other) => other.country === country)?.[measure] ?? 0);
			const label = labels.format(new Date(each.start));
			const [date, hour] = label.split(", ");
			return { label, tick: period === "last_day" ? hour : date, values: [...values, values.reduce((rest, value) => rest - value, each[measure])] };
		}),
	};
}

/** Return the countries with the largest sums. @param {any[]} buckets @param {string} measure @returns {string[]} */
function largest(buckets, measure) {
	/** @type {Record<string, number>} */
	const sums = {};
	for (const each of buckets.flatMap(numbers).filter((other) => other[measure] > 0)) {
		sums[each.country] = (sums[each.country] ?? 0) + each[measure];
	}
	return Object.keys(sums).sort((first, second) => sums[second] - sums[first]).slice(0, COUNTRIES);
}

/** @param {any} bucket @returns {any[]} */
const numbers = ({ countries = [] }) => countries;
