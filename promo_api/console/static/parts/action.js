// @ts-check
// Actions of buttons and dialogs. Their texts are given by their keys.

import { errorText } from "../core/api.js";
import { fill, h, makeAlert } from "../core/dom.js";
import { findText, text } from "../core/text.js";
import { makeForm, whileBusy } from "../forms/form.js";
import { button } from "./blocks.js";
import { openDialog } from "./dialog.js";
import { notify } from "./notice.js";

/** Make a button that runs an action. @param {string} key @param {() => Promise<unknown>} action */
export function actionButton(key, action) {
	const element = button(`${key}.button`, () => whileBusy(element, action).then(() => say(key),
		(error) => notify(errorText(error))));
	return element;
}

/**
 * Ask whether to do something, and do it. An error is shown in the dialog.
 * @template T
 * @param {string} key @param {Record<string, string>} values of its texts
 * @param {() => Promise<T>} action @param {(result: T) => unknown} done
 */
export function ask(key, values, action, done, isDangerous = true) {
	const alert = makeAlert();
	const submit = button(`${key}.button`, () => whileBusy(submit, async () => {
		const result = await action();
		dialog.close();
		say(key);
		done(result);
	}).catch((error) => fill(alert, errorText(error))), isDangerous ? "danger" : "primary");
	const dialog = openDialog(findText(`${key}.title`, values) ?? text(`${key}.button`),
		h("p", {}, text(`${key}.message`, values)), alert,
		h("div", { className: "actions" }, submit, button("form.cancel", () => dialog.close())));
}

/**
 * Open a form in a dialog.
 * @param {string} key
 * @param {Omit<FormOptions, "button"> & { done?: (result: any) => unknown }} options `done` gets what `submit` returns
 */
export function openForm(key, { done, submit, ...options }) {
	const label = text(`${key}.button`);
	const { element } = makeForm({ ...options, button: findText(`${key}.submit`) ?? label, aside: button("form.cancel", () => dialog.close()),
		submit: async (value, request) => {
			const result = await submit(value, request);
			dialog.close();
			say(key);
			done?.(result);
		} });
	const dialog = openDialog(label, element);
	return dialog;
}

/** @param {string} key */
function say(key) {
	notify(findText(`${key}.done`) ?? text("form.done", { action: text(`${key}.button`) }));
}
