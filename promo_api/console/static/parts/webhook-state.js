// @ts-check
// The state of a webhook, which the contract spreads over several members.

import { formatTime } from "../core/format.js";
import { text } from "../core/text.js";

/** @param {any} webhook */
export const webhookState = ({ enabled, failing_since }) => enabled ? failing_since ? "failing" : "enabled" : "disabled";

/** Return since when the webhook fails, or why the service has disabled it. @param {any} webhook */
export function webhookProblem({ enabled, failing_since, disabled_at, disabled_reason }) {
	const time = enabled ? failing_since : disabled_at;
	const key = enabled ? "failing" : disabled_reason === "gone" ? "gone" : "disabled";
	return time && text(`webhooks.${key}`, { time: formatTime(time) });
}
