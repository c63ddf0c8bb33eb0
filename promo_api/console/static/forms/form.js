// @ts-check
// A form that is made from a schema, and that shows the errors of the service at its fields.

import { api, ApiError, newKey } from "../core/api.js";
import { h, makeAlert } from "../core/dom.js";
import { sentence, text } from "../core/text.js";
import { checkFields, constant, makeFields, readFields } from "./field.js";

/**
 * Make a form.
 * @param {FormOptions} options
 * @returns {Form}
 */
export function makeForm({ schema, names, values = {}, button, submit, onInput, aside }) {
	const fields = makeFields(schema, values, "", names);
	const read = () => ({ ...constants(schema), ...readFields(fields) });
	const alert = makeAlert();
	const submitter = h("button", { className: "primary", type: "submit" }, button);
	const key = newKey();
	const element = h("form", { noValidate: true },
		fields.map((field) => field.element), alert, h("div", { className: "actions" }, submitter, aside));

	element.addEventListener("input", () => onInput?.(read()));
	element.addEventListener("submit", async (event) => {
		event.preventDefault();
		alert.textContent = "";
		if (!checkFields(fields)) {
			focusInvalid(element);
			return;
		}
		await whileBusy(submitter, () => submit(read(), key)).catch((error) => showError(error, fields, alert));
	});
	return { element, read };
}

/**
 * Run an action of a button, which can't be pressed again until it ends.
 * @template T
 * @param {HTMLButtonElement} button
 * @param {() => Promise<T>} action
 * @returns {Promise<T>}
 */
export async function whileBusy(button, action) {
	if (button.getAttribute("aria-disabled") === "true") {
		return new Promise(() => {});
	}
	button.setAttribute("aria-disabled", "true");
	button.classList.add("busy");
	try {
		return await action();
	} finally {
		button.removeAttribute("aria-disabled");
		button.classList.remove("busy");
	}
}

/** Return a form whose values an operation gets as its body. @param {string} operationId @param {Omit<FormOptions, "submit"> & { done: (data: any) => void }} options */
export function operationForm(operationId, { done, ...options }) {
	return makeForm({
		...options,
		submit: async (body, key) => done((await api(operationId, { body, key })).data),
	});
}

/** @param {Schema} schema */
function constants(schema) {
	const entries = Object.entries(schema.properties ?? {}).map(([name, member]) => [name, constant(member)]);
	return Object.fromEntries(entries.filter(([name, value]) => value !== undefined && schema.required?.includes(name)));
}

/** @param {unknown} error @param {Field[]} fields @param {HTMLElement} alert */
function showError(error, fields, alert) {
	if (!(error instanceof ApiError)) {
		alert.textContent = text("errors.bug");
		throw error;
	}
	const others = error.details.filter((violation) => !showAtField(violation, fields));
	const messages = others.map(({ message }) => sentence(message));
	if (error.details.length === 0 || messages.length > 0) {
		alert.textContent = [error.message, ...messages].join(" ");
	}
	focusInvalid(alert.closest("form") ?? alert);
}

/** @param {Violation} violation @param {Field[]} fields @returns {boolean} */
function showAtField(violation, fields) {
	if (violation.in !== "body") {
		return false;
	}
	const field = fields.find(({ pointer }) => `${violation.pointer}/`.startsWith(`${pointer}/`));
	if (field === undefined) {
		return false;
	}
	if (!showAtField(violation, field.fields)) {
		const item = violation.pointer.slice(field.pointer.length + 1);
		const { message } = violation;
		field.show(/^\d+$/.test(item) ? text("violations.item", { n: Number(item) + 1, message }) : message);
	}
	return true;
}

/** @param {Element} form */
function focusInvalid(form) {
	/** @type {HTMLElement | null} */ (form.querySelector("[aria-invalid=true]"))?.focus();
}
