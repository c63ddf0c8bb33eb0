// @ts-check
// Dialogs, such as for a secret that is shown once.

import { h } from "../core/dom.js";
import { text } from "../core/text.js";
import { button } from "./blocks.js";
import { notify } from "./notice.js";

/**
 * Open a dialog. It is removed when it is closed.
 * @param {string} title
 * @param {...(Child | Child[])} content
 */
export function openDialog(title, ...content) {
	const dialog = h("dialog", { "aria-label": title }, h("h2", {}, title), ...content);
	dialog.addEventListener("close", () => dialog.remove());
	addEventListener("hashchange", () => dialog.close(), { once: true });
	document.body.append(dialog);
	dialog.showModal();
	return dialog;
}

/** Show a secret, which is not shown again. @param {string} title @param {string} message @param {string} secret */
export function showSecret(title, message, secret) {
	const field = h("input", { type: "text", readOnly: true, value: secret, "aria-label": title, className: "code" });
	const dialog = openDialog(title, h("p", {}, message), field, h("div", { className: "actions" },
		button("form.copy", () => copyText(secret), "primary"), button("form.close", () => dialog.close())));
	field.select();
}

/** Copy a text. @param {string} copied */
export async function copyText(copied) {
	// Pages without HTTPS have no clipboard.
	await navigator.clipboard?.writeText(copied);
	notify(navigator.clipboard ? text("form.copied") : text("form.not_copied"));
}
