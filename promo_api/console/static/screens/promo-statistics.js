// @ts-check
// The statistics of a promo, which refresh themselves: numbers, a chart over time, and countries.

import { api, ApiError } from "../core/api.js";
import { fill, h, makeAlert } from "../core/dom.js";
import { countryName, formatPercent } from "../core/format.js";
import { poll } from "../core/poll.js";
import { text } from "../core/text.js";
import { bar, makeBars } from "../parts/bars.js";
import { card, hint, labelled, makeLive, tile } from "../parts/blocks.js";
import { makeChart } from "../parts/chart.js";
import { downloadButton } from "../parts/download.js";
import { BUCKETS, chartData, firstDay, MEASURES } from "./promo-chart.js";

const SERIES = "business_series.get_promo_series";
const EVERY_MS = 15_000;

/** @param {PromoPage} page */
export async function statisticsTab(page) {
	const { path, signal } = page;
	const tiles = h("dl", { className: "tiles" });
	const countries = makeLive("", countryBars);
	const series = makeSeries(page);

	async function refresh() {
		const [{ data: stat }] = await Promise.all([api("business_promos.get_promo_stat", { path, signal }), series.refresh()]);
		const { used_count: used, max_count: limit, codes_count: uses = limit, like_count: likes } = page.promo;
		const part = text("promo.used_of", { uses, percent: formatPercent(used, uses) });
		fill(tiles, tile(text("promo.used"), used, bar(used / Math.max(uses, 1)), part), tile(text("promo.activations"), stat.activations_count),
			tile(text("promo.redemptions"), stat.redemptions_count ?? 0), tile(text("promo.likes"), likes));
		if (!countries.element.matches(":focus-within")) {
			countries.show(stat);
		}
	}

	await refresh();
	series.element.append(poll(signal, EVERY_MS, async () => {
		await page.refresh();
		await refresh();
	}));
	return [tiles, h("div", { className: "columns" }, series.element, card("promo.countries", null, countries.element))];
}

/** @param {PromoPage} page */
function makeSeries({ signal, path }) {
	const period = h("select", {}, options(Object.keys(BUCKETS)));
	period.value = "last_month";
	const bucket = h("select", {}, options(BUCKETS[period.value]));
	const measure = h("select", {}, options(MEASURES));
	const byCountry = h("input", { type: "checkbox" });
	const alert = makeAlert();
	const chart = makeChart({ title: "", series: [], buckets: [] });
	let loads = 0;
	const request = () => ({ path, query: { bucket: bucket.value, from: firstDay(period.value), by: byCountry.checked ? "country" : "" } });

	async function refresh(isForced = false) {
		loads += 1;
		const current = loads;
		const { data } = await api(SERIES, { ...request(), signal });
		// A chart that is drawn again closes its tooltip, and its table loses the focus.
		if (current === loads && (isForced || !chart.element.querySelector(".plot")?.matches(":hover, :focus-within"))) {
			chart.update(chartData(data, period.value, measure.value));
		}
	}

	/** @param {Event} event */
	async function choose({ target }) {
		if (target === period) {
			bucket.replaceChildren(...options(BUCKETS[period.value]));
		}
		alert.textContent = "";
		await refresh(true).catch((error) => {
			alert.textContent = error instanceof ApiError ? error.message : "";
		});
	}

	const download = downloadButton("promo.download", `statistics-${path.id.slice(0, 8)}.csv`,
		() => api(SERIES, { ...request(), accept: "text/csv" }));
	const element = card("promo.series", download,
		h("div", { className: "filters", onchange: choose },
			labelled(text("promo.period"), period), labelled(text("promo.interval"), bucket), labelled(text("promo.measure"), measure),
			h("label", { className: "check" }, byCountry, text("promo.by_country"))),
		alert, chart.element, hint(text("promo.zone")));
	return { element, refresh };
}

/** @param {string[]} values */
const options = (values) => values.map((value) => h("option", { value }, text(`promo.${value}`)));

/** @param {{ activations_count: number, countries: any[] }} stat */
function countryBars({ activations_count: all, countries }) {
	const rows = countries.map(({ country, activations_count: value }) =>
		({ label: countryName(country), value, detail: formatPercent(value, all) })).sort((first, second) => second.value - first.value);
	return rows.length === 0 ? h("p", { className: "empty" }, text("promo.unused"))
		: makeBars({ title: text("promo.countries"), columns: [text("promo.country"), text("promo.activations")], rows });
}
