// @ts-check
// Refreshes a screen while its tab is visible.

import { h } from "./dom.js";
import { formatClock } from "./format.js";
import { text } from "./text.js";

/**
 * Refresh again and again until the screen is left. A hidden tab does not refresh, and catches up when it is shown.
 * @param {AbortSignal} signal of the screen
 * @param {number} everyMs
 * @param {() => Promise<unknown>} refresh
 * @returns {HTMLElement} says when the screen was refreshed
 */
export function poll(signal, everyMs, refresh) {
	const status = h("p", { className: "live" }, text("live.at", { time: formatClock(new Date()) }));
	let due = Date.now() + everyMs;
	let isRunning = false;

	async function tick() {
		if (document.hidden || isRunning || Date.now() < due) {
			return;
		}
		isRunning = true;
		try {
			await refresh();
			status.textContent = text("live.at", { time: formatClock(new Date()) });
			status.classList.remove("stale");
		} catch {
			status.textContent = text("live.failed", { time: formatClock(new Date()) });
			status.classList.add("stale");
		} finally {
			isRunning = false;
			due = Date.now() + everyMs;
		}
	}

	const timer = setInterval(tick, Math.min(1000, everyMs));
	document.addEventListener("visibilitychange", tick, { signal });
	signal.addEventListener("abort", () => clearInterval(timer));
	return status;
}
