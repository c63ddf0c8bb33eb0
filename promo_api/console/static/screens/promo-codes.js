// @ts-check
// The codes of a promo: their list, files of them, and the jobs that add more.

import { api } from "../core/api.js";
import { parameterSchema } from "../core/contract.js";
import { fill, h } from "../core/dom.js";
import { countryName, formatNumber, formatTime } from "../core/format.js";
import { poll } from "../core/poll.js";
import { text, valueName } from "../core/text.js";
import { badge, button, card, labelled, makeColumns, makeLive, tile, timeCell } from "../parts/blocks.js";
import { downloadButton } from "../parts/download.js";
import { notify } from "../parts/notice.js";
import { makeList } from "../parts/table.js";
import { openGenerate, openImport } from "./promo-import.js";

const EVERY_MS = 1000;
const LATEST = 3;
const LIST = "business_codes.list_codes";

/** @param {PromoPage} page */
export async function codesTab(page) {
	const { path, signal } = page;
	const tiles = h("dl", { className: "tiles" });
	const list = makeList({
		operationId: LIST,
		options: { path, signal },
		caption: text("promo.codes"),
		columns: makeColumns({
			position: ({ position }) => formatNumber(position),
			code: ({ code }) => h("span", { className: "code" }, code),
			state: ({ state }) => badge(state),
			issued_at: timeCell("issued_at"),
			country: ({ country }) => country && countryName(country),
		}),
		empty: text("codes.none"),
	});
	const state = h("select", { onchange: () => list.refresh({ state: state.value }) }, h("option", { value: "" }, text("list.all")),
		(parameterSchema(LIST, "state").enum ?? []).map((value) => h("option", { value }, valueName("states", value))));
	const count = () => {
		const { codes_count: all, used_count: used } = page.promo;
		fill(tiles, tile(text("promo.codes"), all), tile(text("codes.issued"), used), tile(text("codes.left"), all - used));
	};
	const jobs = await makeJobs(page, async () => {
		await Promise.all([page.refresh(), list.refresh()]);
		count();
	});
	const download = downloadButton("codes.csv", `codes-${path.id.slice(0, 8)}.csv`,
		() => api(LIST, { path, query: { state: state.value }, accept: "text/csv" }));

	count();
	await list.refresh();
	return [tiles, jobs.element, h("section", { className: "card" },
		h("div", { className: "actions" }, button("codes.import.button", () => openImport(path, jobs.refresh), "primary"),
			button("codes.generate.button", () => openGenerate(path, jobs.refresh)), download),
		h("div", { className: "filters" }, labelled(text("codes.state"), state)), list.element)];
}

/** @param {any} job */
const hasEnded = ({ state }) => state === "succeeded" || state === "failed";

/** Make the list of jobs: all that have not ended, and the latest others. @param {PromoPage} page @param {() => unknown} onEnd */
async function makeJobs({ signal, path }, onEnd) {
	// Apart, because a list that is drawn again loses the focus.
	const running = makeLive("jobs", (jobs) => jobs.map(showJob));
	const ended = makeLive("jobs", (jobs) => jobs.map(showJob));
	/** @type {string[] | undefined} */
	let known;
	let isBusy = false;

	async function refresh() {
		/** @type {{ data: any[] }} */
		const { data } = await api("business_jobs.list_jobs", { query: { limit: 100 }, signal });
		const jobs = data.filter((job) => job.promo_id === path.id);
		const done = jobs.filter(hasEnded);
		running.show(jobs.filter((job) => !hasEnded(job)));
		ended.show(done.slice(0, LATEST));
		const latest = known && done.find(({ id }) => !known?.includes(id));
		known = done.map(({ id }) => id);
		isBusy = jobs.length > done.length;
		element.hidden = jobs.length === 0;
		if (latest) {
			notify(text("codes.ended", { n: latest.accepted }));
			await onEnd();
		}
	}

	const element = card("codes.jobs", null, running.element, ended.element, poll(signal, EVERY_MS, async () => isBusy && refresh()));
	await refresh();
	return { element, refresh };
}

/** @param {any} job */
function showJob({ id, kind, state, failure, created_at: time, rejected, ...counts }) {
	const name = valueName("codes.kinds", kind);
	return h("div", {},
		h("div", { className: "head" }, h("span", {}, h("strong", {}, name), " ", badge(state)), h("span", { className: "muted" }, formatTime(time))),
		h("progress", { max: 100, value: counts.percent, "aria-label": name }), text("codes.counts", { ...counts, rejected }),
		failure && h("p", { className: "error" }, valueName("codes.failures", failure)),
		rejected > 0 && downloadButton("codes.rejected", `rejected-${id.slice(0, 8)}.csv`,
			() => api("business_jobs.list_job_errors", { path: { id }, accept: "text/csv" })));
}
