// @ts-check
// The webhooks of the company: their list, and the state and the deliveries of one.

import { api, newKey } from "../core/api.js";
import { bodySchema } from "../core/contract.js";
import { h } from "../core/dom.js";
import { formatTime } from "../core/format.js";
import { poll } from "../core/poll.js";
import { go, href } from "../core/router.js";
import { text, valueName } from "../core/text.js";
import { actionButton, ask, openForm } from "../parts/action.js";
import { badge, button, card, head, hint, link, makeColumns, makeLive, stack, timeCell, valueNames, wholeTable } from "../parts/blocks.js";
import { showSecret } from "../parts/dialog.js";
import { makeList } from "../parts/table.js";
import { webhookProblem, webhookState } from "../parts/webhook-state.js";

const CREATE = "business_webhooks.create_webhook";
const UPDATE = "business_webhooks.update_webhook";
const REDELIVER = "business_webhooks.redeliver";
const REFRESH_MS = 5000;

/** @param {Visit} visit */
export async function webhooksScreen({ signal }) {
	const { data } = await api("business_webhooks.list_webhooks", { signal });
	const columns = makeColumns({
		url: ({ id, url }) => link(`/webhooks/${id}`, url),
		state: (webhook) => [badge(webhookState(webhook)), hint(webhookProblem(webhook))],
		event_types: eventNames,
		created: timeCell("created_at"),
	});
	return stack(head("webhooks.title", button("webhooks.create.button", create, "primary")), h("section", { className: "card list" },
		wholeTable("webhooks", columns, data)));
}

function create() {
	openForm("webhooks.create", {
		schema: bodySchema(CREATE),
		names: ["url", "event_types"],
		submit: async (body, key) => (await api(CREATE, { body, key })).data,
		done: ({ id, secret }) => {
			// A change of the screen closes dialogs.
			addEventListener("hashchange", () => showWebhookSecret(secret), { once: true });
			go(`/webhooks/${id}`);
		},
	});
}

/** @param {string} secret */
const showWebhookSecret = (secret) => showSecret(text("webhooks.secret"), text("webhooks.once"), secret);

/** @param {any} webhook */
const eventNames = ({ event_types }) =>
	event_types ? valueNames("event_types", event_types) : text("webhooks.all");

/** @param {Visit} visit */
export async function webhookScreen({ params: path, signal }) {
	const live = makeLive("stack", (webhook) => [
		h("div", { className: "head" }, h("h1", {}, webhook.url), badge(webhookState(webhook))),
		h("section", { className: "card" }, facts(webhook), actions(webhook, call)),
	]);
	const list = makeList({
		operationId: "business_webhooks.list_deliveries",
		options: { path, signal },
		caption: text("webhooks.deliveries"),
		columns: deliveryColumns(call),
		empty: text("webhooks.no_deliveries"),
	});
	async function refresh() {
		const [{ data }] = await Promise.all([api("business_webhooks.get_webhook", { path, signal }), list.refresh()]);
		live.show(data);
	}
	/** Call an operation, and show its effect. @param {string} operationId @param {ApiOptions} [options] */
	async function call(operationId, options) {
		const { data } = await api(operationId, { path, ...options });
		await refresh();
		return data;
	}

	await refresh();
	return stack(
		h("p", { className: "links" }, h("a", { href: href("/webhooks") }, text("webhooks.title")), poll(signal, REFRESH_MS, refresh)),
		live.element,
		card("webhooks.deliveries", button("webhooks.since.button", () => sendSince(call)), list.element));
}

/** @param {any} webhook */
function facts(webhook) {
	const times = ["created_at", "paused_until", "previous_secret_until"].map((name) => [name, webhook[name] && formatTime(webhook[name])]);
	return h("dl", { className: "tiles" }, [["state", webhookProblem(webhook)], ["event_types", eventNames(webhook)], ...times]
		.filter(([, value]) => value).map(([name, value]) => h("div", {}, h("dt", { className: "hint" }, valueName("fields", name)), h("dd", {}, value))));
}

/** @param {any} webhook @param {Call} call */
function actions(webhook, call) {
	const { id, enabled, url } = webhook;
	const key = newKey();
	return h("div", { className: "actions" },
		enabled && actionButton("webhooks.test", () => call("business_webhooks.send_test")),
		button("webhooks.edit.button", () => edit(webhook, call)),
		actionButton(enabled ? "webhooks.disable" : "webhooks.enable", () => call(UPDATE, { body: { enabled: !enabled } })),
		button("webhooks.rotate.button", () => ask("webhooks.rotate", {},
			() => call("business_webhooks.rotate_secret", { key }), ({ secret }) => showWebhookSecret(secret))),
		button("webhooks.delete.button", () => ask("webhooks.delete", { url },
			() => api("business_webhooks.delete_webhook", { path: { id } }), () => go("/webhooks")), "danger"));
}

/** @param {any} webhook @param {Call} call */
function edit(webhook, call) {
	openForm("webhooks.edit", {
		schema: { ...bodySchema(UPDATE), required: ["url"] },
		names: ["url", "event_types"],
		values: webhook,
		submit: ({ url, event_types = null }) => {
			const changes = Object.entries({ url, event_types }).filter(([name, value]) => String(value) !== String(webhook[name] ?? null));
			return call(UPDATE, { body: Object.fromEntries(changes) });
		},
	});
}

/** @param {Call} call */
function sendSince(call) {
	openForm("webhooks.since", {
		schema: { ...bodySchema(REDELIVER), required: ["since"] },
		names: ["since"],
		submit: (body) => call(REDELIVER, { body }),
	});
}

/** @param {Call} call */
function deliveryColumns(call) {
	return makeColumns({
		event: ({ event_type, event_id }) => [valueName("event_types", event_type), h("p", { className: "hint code" }, event_id)],
		state: ({ state, status, error, next_attempt_at }) => [badge(state),
			hint(status ? text("webhooks.status", { status: String(status) }) : error && valueName("delivery_errors", error)),
			Date.parse(next_attempt_at) > Date.now() && hint(text("webhooks.next", { time: formatTime(next_attempt_at) }))],
		attempts: ({ attempts }) => attempts,
		last_attempt: timeCell("attempted_at"),
		requested: timeCell("created_at"),
		actions: ({ event_id }) => actionButton("webhooks.again", () => call(REDELIVER, { body: { event_id } })),
	});
}
