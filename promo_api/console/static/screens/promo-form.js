// @ts-check
// The forms to create and to edit a promo, with a summary in words.

import { api, newKey } from "../core/api.js";
import { alternatives, bodySchema, inOrder } from "../core/contract.js";
import { fill, h, makeAlert } from "../core/dom.js";
import { go, href } from "../core/router.js";
import { text, valueName } from "../core/text.js";
import { constant, makeFields, readFields } from "../forms/field.js";
import { makeForm } from "../forms/form.js";
import { notify } from "../parts/notice.js";
import { describePromo } from "../parts/summary.js";

/** @typedef {Record<string, any>} Values members of a promo */

const CREATE = "business_promos.create_promo";
const READ = "business_promos.get_promo";
const UPDATE = "business_promos.update_promo";
const ORDER = ["description", "promo_common", "promo_unique", "max_count", "max_per_user"];

export function newPromoScreen() {
	const modes = Object.keys(alternatives(bodySchema(CREATE)));
	/** @type {Values} entered in the forms of both modes */
	const values = {};
	/** @type {Map<string, string>} by body: a repeated request must not create a second promo */
	const keys = new Map();
	const submit = async (/** @type {Values} */ body) => {
		const content = JSON.stringify(body);
		const key = keys.get(content) ?? newKey();
		keys.set(content, key);
		leave((await api(CREATE, { body, key })).data.id, "promo_form.created");
	};
	let keep = () => {};
	const open = (/** @type {string} */ mode) => {
		keep();
		const { schema, names } = promoSchema(mode);
		const form = frame.open({ schema, names, values, button: text("promos.create"), submit });
		keep = () => names.forEach((name) => { values[name] = form.read()[name]; });
	};
	const frame = makeFrame("promo_form.new", "/promos", modeCards(modes, open));
	open(modes[0]);
	return frame.screen;
}

/** @param {Visit} visit */
export async function editPromoScreen({ params: path, signal }) {
	const read = () => api(READ, { path, signal });
	const stored = await read();
	const { schema, names } = promoSchema(stored.data.mode, bodySchema(UPDATE).properties);
	const frame = makeFrame("promo_form.edit", `/promos/${path.id}`);
	/** @param {Values} promo @param {Values} value */
	const changesOf = (promo, value) => findChanges(names, readFields(makeFields(schema, promo, "", names)), value);
	/** @param {ApiResult} version @param {Values} [changes] not saved yet @param {string} [message] */
	const open = ({ data, etag }, changes, message) => {
		const submit = async (/** @type {Values} */ value) => {
			const body = changesOf(data, value);
			if (isEmpty(body)) {
				notify(text("promo_form.unchanged"));
				return;
			}
			const saved = await api(UPDATE, { path, body, etag }).catch(ignoreConflict);
			const current = saved ?? await read();
			// A repeated request meets its own changes if the first response was lost.
			if (saved || isEmpty(changesOf(current.data, value))) {
				leave(path.id, "promo_form.saved");
			} else {
				open(current, body, text("promo_form.conflict", { names: changedNames(data, current.data) }));
			}
		};
		const { promo_id, codes_count } = data;
		frame.open({ schema, names, values: { ...data, ...changes }, button: text("form.save"), submit }, { promo_id, codes_count }, message);
	};
	open(stored);
	return frame.screen;
}

/** @param {Values} values */
function isEmpty(values) {
	return Object.keys(values).length === 0;
}

/** Return the schema for a mode, and its members that have fields. @param {string} mode @param {Values} [allowed] by name */
function promoSchema(mode, allowed) {
	const schema = alternatives(bodySchema(CREATE))[mode];
	const { properties = {} } = schema;
	const names = Object.keys(allowed ?? properties).filter((name) => properties[name] && constant(properties[name]) === undefined);
	return { schema, names: inOrder(names, ORDER) };
}

/** @param {import("../core/api.js").ApiError} error */
function ignoreConflict(error) {
	if (error.code !== "precondition_failed") {
		throw error;
	}
}

/** Return the changed members, with null for a removed value. @param {string[]} names @param {Values} before @param {Values} after */
function findChanges(names, before, after) {
	const changed = names.filter((name) => JSON.stringify(before[name]) !== JSON.stringify(after[name]));
	return /** @type {Values} */ (Object.fromEntries(changed.map((name) => [name, after[name] ?? null])));
}

/** Return the labels of members that someone else has changed. @param {Values} before @param {Values} after */
function changedNames(before, after) {
	const changed = Object.keys(findChanges(Object.keys(bodySchema(UPDATE).properties ?? {}), before, after));
	return changed.map((name) => `“${valueName("fields", name)}”`).join(", ");
}

/** @param {string[]} modes @param {(mode: string) => void} choose */
function modeCards(modes, choose) {
	return h("fieldset", { className: "choices" }, h("legend", {}, text("fields.mode")), modes.map((mode, index) =>
		h("label", { className: "check" },
			h("input", { type: "radio", name: "mode", checked: index === 0, onchange: () => choose(mode) }), valueName("mode", mode))));
}

/** @param {string} id @param {string} message */
function leave(id, message) {
	notify(text(message));
	go(`/promos/${id}`);
}

/** Make the screen; `open` shows a form and its summary. @param {string} title @param {string} back @param {HTMLElement} [above] */
function makeFrame(title, back, above) {
	const place = h("div");
	const summary = h("div", { className: "list", "aria-live": "polite" });
	const screen = new DocumentFragment();
	screen.append(h("h1", {}, text(title)), h("div", { className: "columns" },
		h("section", { className: "card promo-form" }, above, place),
		h("aside", { className: "card summary" }, h("h2", {}, text("summary.title")), summary)));
	/** @param {FormOptions} options @param {Values} [stored] @param {string} [message] */
	const open = (options, stored, message) => {
		const onInput = (/** @type {Values} */ value) => {
			const sentences = describePromo({ ...stored, ...value });
			// Screen readers speak each change.
			if (sentences.join("") !== summary.textContent) {
				fill(summary, sentences.map((each) => h("p", {}, each)));
			}
		};
		const form = makeForm({ ...options, onInput, aside: h("a", { className: "button", href: href(back) }, text("form.cancel")) });
		fill(place, message && makeAlert(message), form.element);
		onInput(form.read());
		return form;
	};
	return { screen, open };
}
