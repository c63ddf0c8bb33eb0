// @ts-check
// Makes the input element for a schema, and reads its value.

import { resolve } from "../core/contract.js";
import { h } from "../core/dom.js";
import { countryName } from "../core/format.js";
import { text, valueName } from "../core/text.js";

const LONG_TEXT = 200;
/** @type {Record<string, string>} */
const TYPES = { email: "email", password: "password", uri: "url", date: "date", "date-time": "datetime-local" };

/**
 * Make the input for a schema.
 * @param {string} name
 * @param {Schema} declared
 * @param {any} value shown at first
 * @param {boolean} isRequired
 * @returns {Input}
 */
export function makeInput(name, declared, value, isRequired) {
	const schema = resolve(declared);
	if (schema.type === "boolean") {
		return checkbox(value ?? schema.default ?? false);
	}
	if (schema.format === "binary") {
		const element = h("input", { type: "file" });
		return { element, read: () => element.files?.[0] };
	}
	if (schema.type === "integer") {
		return numberInput(schema, value);
	}
	if (schema.type === "array") {
		const items = resolve(schema.items ?? {});
		return items.enum ? checkboxes(name, items.enum, value ?? []) : lines(value ?? []);
	}
	if (schema.enum) {
		return select(schema.enum.map((each) => [each, valueName(name, each)]), value ?? schema.default, isRequired);
	}
	return name === "country" ? select(countries(schema), value?.toLowerCase(), isRequired) : textInput(schema, value);
}

/** @param {boolean} value @returns {Input} */
function checkbox(value) {
	const element = h("input", { type: "checkbox", checked: value });
	return { element, read: () => element.checked };
}

/** @param {Schema} schema @param {any} value @returns {Input} */
function numberInput(schema, value) {
	const bounds = { min: String(schema.minimum ?? ""), max: String(schema.maximum ?? ""), step: "1" };
	const element = h("input", { type: "number", inputMode: "numeric", ...bounds, value: value ?? "" });
	return { element, read: () => (element.value === "" && !element.validity.badInput ? undefined : element.valueAsNumber) };
}

/** @param {Schema} schema @param {any} value @returns {Input} */
function textInput(schema, value) {
	if (schema.format === undefined || schema.format === "visible-text") {
		if ((schema.maxLength ?? 0) > LONG_TEXT) {
			const area = h("textarea", { rows: 3, value: value ?? "" });
			return { element: area, read: () => area.value || undefined };
		}
	}
	const type = TYPES[schema.format ?? ""] ?? "text";
	const element = h("input", { type, value: value ?? "", autocomplete: autocomplete(schema), spellcheck: false });
	if (type === "datetime-local") {
		return { element, read: () => (element.value ? new Date(element.value).toISOString() : undefined) };
	}
	return { element, read: () => element.value || undefined };
}

/** @param {Schema} schema */
function autocomplete(schema) {
	if (schema.format === "password") {
		return schema.minLength === undefined ? "current-password" : "new-password";
	}
	return schema.format === "email" ? "username" : "off";
}

/** A list of texts, one on each line. @param {string[]} value @returns {Input} */
function lines(value) {
	const element = h("textarea", { rows: 3, value: value.join("\n"), spellcheck: false });
	const read = () => element.value.split("\n").map((line) => line.trim()).filter((line) => line !== "");
	// Messages count the entries, so the text area must not have empty lines between them.
	element.addEventListener("change", () => { element.value = read().join("\n"); });
	return { element, read: () => (read().length === 0 ? undefined : read()) };
}

/** @param {[string, string][]} options @param {string | undefined} value @param {boolean} isRequired @returns {Input} */
function select(options, value, isRequired) {
	const empty = h("option", { value: "" }, isRequired ? text("form.choose") : text("form.any"));
	const element = h("select", {}, empty, options.map(([key, label]) => h("option", { value: key }, label)));
	element.value = value ?? "";
	return { element, read: () => element.value || undefined };
}

/** @param {string} name @param {string[]} options @param {string[]} value @returns {Input} */
function checkboxes(name, options, value) {
	const boxes = options.map((each) => h("input", { type: "checkbox", value: each, checked: value.includes(each) }));
	const labels = boxes.map((box) => h("label", { className: "check" }, box, h("span", {}, valueName(name, box.value))));
	const read = () => boxes.filter((box) => box.checked).map((box) => box.value);
	return {
		element: h("div", { className: "checks" }, labels),
		read: () => (read().length === 0 ? undefined : read()),
		isGroup: true,
	};
}

/** Return the country codes that a schema allows, with their names. @param {Schema} schema @returns {[string, string][]} */
function countries(schema) {
	const letters = [..."abcdefghijklmnopqrstuvwxyz"];
	const allowed = new RegExp(schema.pattern ?? "", "u");
	const codes = letters.flatMap((first) => letters.map((second) => first + second)).filter((code) => allowed.test(code));
	const named = /** @type {[string, string][]} */ (codes.map((code) => [code, countryName(code)]));
	return named.sort(([, first], [, second]) => first.localeCompare(second));
}
