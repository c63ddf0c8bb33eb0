// @ts-check
// The account of the company: its name, its password, and the end of its sessions.

import { api } from "../core/api.js";
import { bodySchema } from "../core/contract.js";
import { h } from "../core/dom.js";
import { text } from "../core/text.js";
import { makeForm } from "../forms/form.js";
import { button, card, head, stack } from "../parts/blocks.js";
import { notify } from "../parts/notice.js";
import { signOut } from "./sign-in.js";

const UPDATE = "business_profile.update_profile";

/** @param {Visit} visit */
export async function accountScreen({ signal }) {
	let { data, etag } = await api("business_profile.get_profile", { signal });
	const name = profileForm(["name"], data, async (body) => {
		({ etag } = await api(UPDATE, { body, etag }));
		notify(text("account.saved"));
	});
	const password = profileForm(["old_password", "password"], {}, async (body) => {
		await api(UPDATE, { body }).catch((error) => {
			if (error.code === "wrong_password") {
				error.details = [{ in: "body", pointer: "/old_password", message: error.message }];
			}
			throw error;
		});
		password.reset();
		notify(text("account.changed"));
	});
	return stack(head("account.title"),
		card("account.profile", h("span", { className: "muted" }, data.email), name),
		card("account.password", null, password),
		card("account.sessions", button("nav.sign_out", signOut), h("p", { className: "muted" }, text("account.sign_out"))));
}

/** @param {string[]} names @param {Record<string, any>} values @param {(body: any) => Promise<unknown>} submit */
const profileForm = (names, values, submit) =>
	makeForm({ schema: { ...bodySchema(UPDATE), required: names }, names, values, button: text("form.save"), submit }).element;
