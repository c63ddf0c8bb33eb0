// @ts-check
// Finds what needs attention: webhooks that fail or are disabled, and promos that run out or end soon.

import { api } from "../core/api.js";
import { addDays, formatDate, today } from "../core/format.js";
import { text } from "../core/text.js";
import { webhookProblem, webhookState } from "./webhook-state.js";

const PAGE = 100;
export const MAX_PROMOS = 10 * PAGE;
const SOON_DAYS = 7;

/** @param {AbortSignal} signal */
export async function findAttention(signal) {
	const [promos, webhooks] = await Promise.all([checkPromos(signal), api("business_webhooks.list_webhooks", { signal })]);
	return { ...promos, entries: [...webhooks.data.flatMap(webhookEntry), ...promos.entries] };
}

/** Check the active promos. The last in the list end first. @param {AbortSignal} signal */
async function checkPromos(signal) {
	const list = (/** @type {Record<string, any>} */ query) =>
		api("business_promos.list_promos", { query: { state: "active", sort_by: "active_until", ...query }, signal });
	const { total } = await list({ limit: 0 });
	/** @type {Entry[]} */
	const entries = [];
	let page = await list({ limit: PAGE, offset: Math.max(0, total - MAX_PROMOS) });
	for (let checked = PAGE; page.data.length > 0; checked += PAGE) {
		entries.unshift(...page.data.flatMap(promoEntry).reverse());
		if (page.cursor === null || checked >= MAX_PROMOS) {
			break;
		}
		page = await list({ limit: PAGE, cursor: page.cursor });
	}
	return { entries, isPartial: total > MAX_PROMOS };
}

/** @param {any} promo @returns {Entry[]} */
function promoEntry({ promo_id, description, active_until, codes_count, max_count, used_count, low_stock_percent = 10 }) {
	const limit = codes_count ?? max_count;
	const left = limit - used_count;
	const isLow = left * 100 <= limit * low_stock_percent;
	const isEnding = active_until <= addDays(today(), SOON_DAYS);
	const detail = [isLow ? text("overview.left", { left, limit }) : "", isEnding ? text("overview.ends", { date: formatDate(active_until) }) : ""];
	return isLow || isEnding
		? [{ path: `/promos/${promo_id}`, name: description, state: isLow ? "low" : "ending", detail: detail.join(" ") }] : [];
}

/** @param {any} webhook @returns {Entry[]} */
function webhookEntry(webhook) {
	const detail = webhookProblem(webhook);
	return detail ? [{ path: `/webhooks/${webhook.id}`, name: webhook.url, state: webhookState(webhook), detail }] : [];
}
