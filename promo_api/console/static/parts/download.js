// @ts-check
// Buttons that save a file.

import { errorText } from "../core/api.js";
import { h } from "../core/dom.js";
import { whileBusy } from "../forms/form.js";
import { button } from "./blocks.js";
import { notify } from "./notice.js";

/** Make a button that loads a file and saves it. @param {string} key @param {string} download its name @param {() => Promise<ApiResult>} load */
export function downloadButton(key, download, load) {
	const element = button(key, () => whileBusy(element, async () => {
		const url = URL.createObjectURL((await load()).data);
		h("a", { href: url, download }).click();
		// The browser reads the address after the click.
		setTimeout(() => URL.revokeObjectURL(url), 60_000);
	}).catch((error) => notify(errorText(error))));
	return element;
}
