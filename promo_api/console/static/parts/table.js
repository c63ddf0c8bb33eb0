// @ts-check
// Tables, and lists that load their pages by cursors.

import { api, errorText } from "../core/api.js";
import { fill, h } from "../core/dom.js";
import { text } from "../core/text.js";
import { whileBusy } from "../forms/form.js";
import { notify } from "./notice.js";

const PAGE = 25;
const MAX_PAGE = 100;

/** Make a table. @param {string} caption @param {Column[]} columns @param {any[]} entries */
export function makeTable(caption, columns, entries) {
	const titles = columns.map(({ title, isNumber, isHidden }) =>
		h("th", { scope: "col", className: isNumber ? "number" : "" },
			h("span", { className: isHidden ? "visually-hidden" : "" }, title)));
	// A scrolling region must be reachable with the keyboard.
	return h("div", { className: "table", tabIndex: 0, role: "region", "aria-label": caption },
		h("table", {}, h("caption", { className: "visually-hidden" }, caption),
			h("thead", {}, h("tr", {}, titles)),
			h("tbody", {}, tableRows(columns, entries))));
}

/**
 * Make a list of all entries of an operation, page by page.
 * @param {{ operationId: string, options?: ApiOptions, caption: string, columns: Column[],
 *   empty: Child, onTotal?: (total: number) => void }} list
 * @returns {{ element: HTMLElement, refresh: (query?: Record<string, any>) => Promise<void> }} `refresh` loads the entries
 *   again, and with another query if one is given
 */
export function makeList({ operationId, options = {}, caption, columns, empty, onTotal }) {
	const element = h("div", { className: "list" });
	const more = h("button", { type: "button" }, text("list.more"));
	let query = options.query;
	/** @type {string | null} */
	let cursor = null;
	/** @type {any[] | null} */
	let shown = null;
	let loads = 0;

	/** @param {number} limit @param {string | null} after */
	async function load(limit, after) {
		loads += 1;
		const current = loads;
		const result = await api(operationId, { ...options, query: { ...query, limit, cursor: after ?? undefined } });
		return current === loads ? result : null;
	}

	/** @param {ApiResult} page @param {any[]} entries */
	function show(page, entries) {
		shown = entries;
		cursor = page.data.length > 0 ? page.cursor : null;
		more.hidden = cursor === null;
	}

	more.addEventListener("click", () => whileBusy(more, async () => {
		const page = await load(PAGE, cursor);
		if (page !== null) {
			element.querySelector("tbody")?.append(...tableRows(columns, page.data));
			show(page, [...shown ?? [], ...page.data]);
		}
	}).catch((error) => notify(errorText(error))));

	return {
		element,
		async refresh(changed = query) {
			shown = changed === query ? shown : null;
			query = changed;
			const limit = Math.min(MAX_PAGE, Math.max(PAGE, shown?.length ?? 0));
			const page = await load(limit, null);
			if (page === null) {
				return;
			}
			onTotal?.(page.total);
			// The same entries stay, so that polls neither hide more pages nor take the focus away.
			if (JSON.stringify(page.data) !== JSON.stringify(shown?.slice(0, limit))) {
				show(page, page.data);
				keepFocus(element, () =>
					fill(element, page.data.length === 0 ? h("div", { className: "empty" }, empty) : makeTable(caption, columns, page.data), more));
			}
		},
	};
}

/** Return the focus to the same control, counted from the end, because new entries come first. @param {Element} element @param {() => void} change */
function keepFocus(element, change) {
	const controls = () => [...element.querySelectorAll("a, button")];
	const before = controls();
	const place = before.findIndex((control) => control === document.activeElement);
	change();
	if (place >= 0) {
		/** @type {HTMLElement | undefined} */ (controls().at(place - before.length))?.focus();
	}
}

/** @param {Column[]} columns @param {any[]} entries */
function tableRows(columns, entries) {
	return entries.map((entry) => h("tr", {}, columns.map(({ title, cell, isNumber }) =>
		h("td", { className: isNumber ? "number" : "", "data-title": title }, h("div", {}, cell(entry))))));
}
