// @ts-check
// Looks up a code, and redeems or holds it.

import { api } from "../core/api.js";
import { bodySchema } from "../core/contract.js";
import { fill, h } from "../core/dom.js";
import { text, valueName } from "../core/text.js";
import { makeForm } from "../forms/form.js";
import { badge, card, link } from "./blocks.js";
import { notify } from "./notice.js";

const CHECK = "business_redemptions.validate_code";
const REDEEM = "business_redemptions.create_redemption";

/** @param {AbortSignal} signal @param {() => Promise<unknown>} onRedeemed */
export function makeCodeCheck(signal, onRedeemed) {
	const verdict = h("div", { role: "status" });
	const action = h("div", { className: "actions" });
	let checks = 0;
	/** @param {any} body */
	const check = async (body) => (await api(CHECK, { body, signal })).data;
	const { element } = makeForm({
		schema: bodySchema(CHECK), names: ["code"], button: text("redemptions.check"), onInput: clear,
		submit: async ({ code }) => {
			const current = ++checks;
			const data = await check({ code });
			// Only the check of one promo returns its offer.
			const promos = await Promise.all((data.candidates ?? []).map((/** @type {string} */ promo_id) => check({ code, promo_id })));
			if (current === checks) {
				show(code, data);
				action.append(...promos.map((each) => h("button", { type: "button", onclick: () => show(code, each) }, each.promo.description)));
			}
		},
	});

	function clear() {
		checks += 1;
		fill(verdict);
		fill(action);
	}

	/** @param {string} code @param {any} data */
	function show(code, { valid, reasons, promo }) {
		fill(verdict, h("p", {}, badge(valid ? "valid" : "invalid"), " ", h("span", { className: "code" }, code)),
			reasons.map((/** @type {string} */ reason) => h("p", {}, valueName("reasons", reason))),
			promo && link(`/promos/${promo.promo_id}`, promo.description));
		// The order of a hold can redeem its code, or hold it longer.
		fill(action, (valid || reasons.includes("held")) && redeemForm({ code, promo_id: promo?.promo_id }));
	}

	/** @param {{ code: string, promo_id?: string }} entered */
	function redeemForm(entered) {
		return makeForm({
			schema: bodySchema(REDEEM), names: ["order_ref", "hold_s"], button: text("redemptions.redeem"),
			submit: async (value, key) => {
				const { data } = await api(REDEEM, { body: { ...value, ...entered }, key });
				clear();
				element.reset();
				notify(text(`redemptions.${data.state}`, { code: data.code }));
				await onRedeemed();
			},
		}).element;
	}

	return card("redemptions.lookup", null, element, verdict, action);
}
