// @ts-check
// The blocks that screens consist of. Their texts are given by their keys.

import { fill, h, newId } from "../core/dom.js";
import { formatNumber, formatTime } from "../core/format.js";
import { href } from "../core/router.js";
import { text, valueName } from "../core/text.js";
import { makeTable } from "./table.js";

const GOOD = ["active", "available", "confirmed", "enabled", "redeemed", "succeeded", "valid"];
const WARN = ["exhausted", "failing", "low", "paused"];
const BAD = ["disabled", "failed", "invalid", "voided"];
const INFO = ["ending", "held", "issued", "pending", "queued", "running", "scheduled", "uploading"];
const COLORS = { good: GOOD, warn: WARN, bad: BAD, info: INFO };

/** @param {string} key @param {() => unknown} onclick */
export const button = (key, onclick, className = "") => h("button", { type: "button", className, onclick }, text(key));

/** @param {...Content} content */
export const stack = (...content) => h("div", { className: "stack" }, ...content);

/** @param {string} key @param {...Content} aside */
export const head = (key, ...aside) => h("div", { className: "head" }, h("h1", {}, text(key)), ...aside);

/** @param {string} key @param {Content} aside next to the heading @param {...Content} content */
export const card = (key, aside, ...content) =>
	h("section", { className: "card" }, h("div", { className: "head" }, h("h2", {}, text(key)), aside), ...content);

/** @param {Content} content */
export const hint = (content) => h("p", { className: "hint" }, content);

/** Give a label to a control. @param {string} label @param {HTMLElement} control */
export function labelled(label, control) {
	control.id = newId("control");
	return h("div", { className: "field" }, h("label", { htmlFor: control.id }, label), control);
}

/** @param {string} label @param {number} value @param {...Child} more */
export const tile = (label, value, ...more) => h("div", { className: "tile" }, h("dt", {}, label),
	h("dd", {}, formatNumber(value)), more.length > 0 && h("dd", { className: "more" }, ...more));

/** @param {string} path @param {string} name */
export const link = (path, name) => h("a", { className: "clip", href: href(path) }, name);

/** @param {Entry[]} entries */
export const entryList = (entries) => h("ul", { className: "entries" }, entries.map(({ path, name, state, detail }) =>
	h("li", {}, h("div", { className: "head" }, link(path, name), badge(state)), hint(detail))));

/** Make columns from their cells, which are named as fields are. @param {Record<string, (entry: any) => Content>} cells */
export const makeColumns = (cells) => Object.entries(cells).map(([name, cell]) =>
	({ title: valueName("fields", name), cell, isHidden: name === "actions" }));

/** @param {string} kind @param {string[]} values */
export const valueNames = (kind, values) => values.map((value) => valueName(kind, value)).join(", ");

/** Make the table of a short list, or say that it is empty. @param {string} section of texts @param {Column[]} columns @param {any[]} entries */
export const wholeTable = (section, columns, entries) => entries.length === 0
	? h("p", { className: "empty" }, text(`${section}.empty`)) : makeTable(text(`${section}.title`), columns, entries);

/** Make the cell of a time. @param {string} name */
export const timeCell = (name) => (/** @type {any} */ entry) => entry[name] && formatTime(entry[name]);

/**
 * Make content from data. It is made again only if the data has changed, so that polls do not take the focus away.
 * @param {string} className @param {(data: any) => Content} make
 */
export function makeLive(className, make) {
	const element = h("div", { className });
	let shown = "";
	return { element, show: (/** @type {any} */ data) => {
		const changed = JSON.stringify(data);
		if (changed !== shown) {
			shown = changed;
			fill(element, make(data));
		}
	} };
}

/** Make the badge of a state. @param {string} state */
export function badge(state) {
	const [color = ""] = Object.entries(COLORS).find(([, states]) => states.includes(state)) ?? [];
	return h("span", { className: `badge ${color}` }, valueName("states", state));
}

/** Make the tabs of a list by state, after a first tab for all states. @param {string} path @param {string[]} states @param {Record<string, string>} filters */
export function stateTabs(path, states, filters) {
	return makeTabs(text("list.states"), ["", ...states].map((state) => ({
		title: state ? valueName("states", state) : text("list.all"), path, query: { ...filters, state }, isCurrent: (filters.state ?? "") === state,
	})));
}

/**
 * Make tabs.
 * @param {string} label
 * @param {{ title: string, path: string, query?: Record<string, string>, isCurrent: boolean }[]} tabs
 */
export function makeTabs(label, tabs) {
	return h("nav", { className: "tabs", "aria-label": label },
		tabs.map(({ title, path, query, isCurrent }) =>
			h("a", { href: href(path, query), "aria-current": isCurrent ? "page" : undefined }, title)));
}
