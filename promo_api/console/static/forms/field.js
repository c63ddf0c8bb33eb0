// @ts-check
// A field of a form: the label, the input, the hint and the message of an error.

import { resolve } from "../core/contract.js";
import { fill, h, newId } from "../core/dom.js";
import { findText, sentence, text, valueName } from "../core/text.js";
import { makeInput } from "./inputs.js";
import { findViolation } from "./violations.js";

/**
 * Make the field for a member of an object.
 * @param {string} name
 * @param {Schema} declared
 * @param {{ value?: any, isRequired: boolean, pointer?: string }} options
 * @returns {Field}
 */
export function makeField(name, declared, { value, isRequired, pointer = "" }) {
	const schema = resolve(declared);
	const path = `${pointer}/${name}`;
	if (schema.properties) {
		return objectField(name, schema, value ?? {}, path);
	}
	const input = makeInput(name, schema, value, isRequired);
	const ids = { input: newId("input"), hint: newId("hint"), error: newId("error") };
	const error = h("p", { className: "error", id: ids.error });
	const control = input.element;
	const controls = input.isGroup ? [...control.querySelectorAll("input")] : [control];
	control.id = ids.input;
	controls.forEach((each) => each.setAttribute("aria-describedby", `${ids.hint} ${ids.error}`));
	if (isRequired && !input.isGroup) {
		control.setAttribute("aria-required", "true");
	}
	/** @param {string | null} message */
	const show = (message) => {
		fill(error, message && sentence(message));
		controls.forEach((each) => each.setAttribute("aria-invalid", String(message !== null)));
	};
	const check = () => {
		const message = fieldViolation(schema, input.read(), isRequired);
		show(message);
		return message === null;
	};
	control.addEventListener("change", check);
	const hint = h("p", { className: "hint", id: ids.hint }, hintText(name, schema));
	return {
		name,
		pointer: path,
		element: layOut(input, labelText(name, isRequired || schema.type === "boolean"), hint, error),
		read: input.read,
		check,
		show,
		fields: [],
	};
}

/**
 * @param {string} name @param {Schema} schema @param {any} value @param {string} pointer
 * @returns {Field}
 */
function objectField(name, schema, value, pointer) {
	const fields = makeFields(schema, value, pointer);
	const error = h("p", { className: "error" });
	return {
		name,
		pointer,
		element: h("fieldset", {}, h("legend", {}, labelText(name, true)),
			h("p", { className: "hint" }, hintText(name, schema)), error, fields.map((field) => field.element)),
		read: () => readFields(fields),
		check: () => checkFields(fields),
		show: (message) => fill(error, message && sentence(message)),
		fields,
	};
}

/**
 * Make the fields of an object; members with one possible value have none.
 * @param {Schema} schema
 * @param {Record<string, any>} value
 * @param {string} [pointer] of the object
 * @param {string[]} [names] the members to show, in this order
 */
export function makeFields(schema, value, pointer = "", names = Object.keys(schema.properties ?? {})) {
	return names
		.filter((name) => schema.properties?.[name] && constant(schema.properties[name]) === undefined)
		.map((name) => makeField(name, /** @type {any} */ (schema.properties)[name], {
			value: value[name],
			isRequired: schema.required?.includes(name) ?? false,
			pointer,
		}));
}

/** Return the values of fields, without those where nothing is entered. @param {Field[]} fields */
export function readFields(fields) {
	const entries = fields.map((field) => [field.name, field.read()]).filter(([, value]) => value !== undefined);
	return /** @type {Record<string, any>} */ (Object.fromEntries(entries));
}

/** Check all fields. @param {Field[]} fields */
export function checkFields(fields) {
	return fields.map((field) => field.check()).every(Boolean);
}

/** Return the value of a schema that allows only one. @param {Schema} declared */
export function constant(declared) {
	const schema = resolve(declared);
	if (schema.enum?.length === 1) {
		return schema.enum[0];
	}
	return schema.minimum !== undefined && schema.minimum === schema.maximum ? schema.minimum : undefined;
}

/** @param {Schema} schema @param {any} value @param {boolean} isRequired */
function fieldViolation(schema, value, isRequired) {
	if (value === undefined) {
		return isRequired ? text("violations.required") : null;
	}
	return findViolation(schema, value);
}

/** @param {Input} input @param {string} label @param {HTMLElement} hint @param {HTMLElement} error */
function layOut(input, label, hint, error) {
	if (input.isGroup) {
		return h("fieldset", { className: "field" }, h("legend", {}, label), input.element, hint, error);
	}
	const heading = h("label", { htmlFor: input.element.id }, label);
	if (input.element instanceof HTMLInputElement && input.element.type === "checkbox") {
		return h("div", { className: "field" }, h("div", { className: "check" }, input.element, heading), hint, error);
	}
	return h("div", { className: "field" }, heading, input.element, hint, error);
}

/** @param {string} name @param {boolean} isPlain whether nothing says that it is optional */
function labelText(name, isPlain) {
	const label = valueName("fields", name);
	return isPlain ? label : text("form.optional", { label });
}

/** @param {string} name @param {Schema} schema */
function hintText(name, schema) {
	return findText(`hints.${name}`) ?? (schema.description ?? "").split(/(?<=\.)\s/)[0].replaceAll("`", "");
}
