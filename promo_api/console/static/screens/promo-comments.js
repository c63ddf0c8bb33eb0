// @ts-check
// The comments on a promo, and their removal.

import { api, ApiError } from "../core/api.js";
import { fill, h } from "../core/dom.js";
import { formatTime } from "../core/format.js";
import { text, valueName } from "../core/text.js";
import { ask } from "../parts/action.js";
import { button, makeColumns } from "../parts/blocks.js";
import { makeList } from "../parts/table.js";

/** @param {PromoPage} page */
export async function commentsTab({ path, signal }) {
	const list = makeList({
		operationId: "business_comments.list_comments",
		options: { path, signal },
		caption: text("promo.comments"),
		columns: makeColumns({
			comment: (comment) => comment.text,
			author,
			time: ({ date }) => formatTime(date),
			reports: ({ id, reports_count: n }) => n && reports({ ...path, comment_id: id }, n, signal),
			actions: (comment) => button("promo.remove.button", () => remove(comment), "danger small"),
		}),
		empty: text("promo.no_comments"),
	});
	/** @param {any} comment */
	const remove = (comment) => ask("promo.remove", { author: author(comment) },
		() => api("business_comments.delete_comment", { path: { ...path, comment_id: comment.id } }), () => list.refresh());
	const reported = h("input", { type: "checkbox", onchange: () => list.refresh({ reported: reported.checked }) });
	await list.refresh();
	return [h("section", { className: "card" }, h("label", { className: "check" }, reported, text("promo.reported")), list.element)];
}

/** @param {any} comment */
const author = (comment) => `${comment.author.name} ${comment.author.surname}`;

/** Make the number of reports, which opens their reasons. @param {Record<string, string>} path @param {number} n @param {AbortSignal} signal */
function reports(path, n, signal) {
	const reasons = h("ul");
	return h("details", { ontoggle: async () => {
		const result = await api("business_comments.list_reports", { path, query: { limit: 100 }, signal }).catch((error) => error);
		fill(reasons, result instanceof ApiError ? h("li", { role: "alert" }, result.message) : result.data.map(reason));
	} }, h("summary", {}, text("promo.reports", { n })), reasons);
}

/** @param {any} report */
const reason = (report) => h("li", {}, valueName("promo.reasons", report.reason), ", ", formatTime(report.date));
