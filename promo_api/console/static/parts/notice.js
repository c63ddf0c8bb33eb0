// @ts-check
// A message about something that was done, which screen readers speak.

import { h } from "../core/dom.js";

const SHOWN_MS = 6000;
const notice = h("p", { className: "notice", role: "status" });
/** @type {number | undefined} */
let hiding;

/** Add the place of notices to the page. */
export function placeNotices() {
	document.body.append(notice);
}

/** Show a notice for some seconds. @param {string} message */
export function notify(message) {
	notice.textContent = message;
	clearTimeout(hiding);
	hiding = setTimeout(() => notice.replaceChildren(), SHOWN_MS);
}
