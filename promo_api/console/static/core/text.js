// @ts-check
// Finds the texts of the console.

import { TEXTS } from "../texts/en.js";

export const LANGUAGE = "en-GB";
const plurals = new Intl.PluralRules(LANGUAGE);
const numbers = new Intl.NumberFormat(LANGUAGE);

/**
 * Return a text with its placeholders filled, such as `{name}`. A text with the forms `one` and `other` is chosen by
 * the value of `n`.
 * @param {string} key such as `promos.title`
 * @param {Record<string, string | number>} [values]
 */
export function text(key, values = {}) {
	const found = findText(key, values);
	if (found === undefined) {
		throw new Error(`There is no text ${key}.`);
	}
	return found;
}

/**
 * Return a text as `text` does; undefined: there is none.
 * @param {string} key
 * @param {Record<string, string | number>} [values]
 * @returns {string | undefined}
 */
export function findText(key, values = {}) {
	/** @type {any} */
	let found = TEXTS;
	for (const name of key.split(".")) {
		found = found?.[name];
	}
	const form = found?.other === undefined ? found : found[plurals.select(Number(values.n))] ?? found.other;
	return form?.replace(/\{(\w+)\}/g, (/** @type {string} */ _, /** @type {string} */ name) => {
		const value = values[name];
		return typeof value === "number" ? numbers.format(value) : value;
	});
}

/** Return the name of a value of the contract, such as a state; an unknown one as it is, in words. @param {string} kind @param {string} value */
export function valueName(kind, value) {
	return findText(`${kind}.${value.replaceAll(".", "_")}`) ?? words(value);
}

/** Return the words of a name, such as `max_per_user`. @param {string} name */
function words(name) {
	const spaced = name.replaceAll(/[_.]/g, " ");
	return spaced.charAt(0).toUpperCase() + spaced.slice(1).toLowerCase();
}

/** Return a message of the service as a sentence, with the labels of members instead of their names. @param {string} message */
export function sentence(message) {
	const plain = message.replace(/`?\b([a-z]+(?:_[a-z]+)+)\b`?/g, (_, name) => `“${valueName("fields", name)}”`)
		.replaceAll("`", "");
	return plain.charAt(0).toUpperCase() + plain.slice(1) + (/[.!?]$/.test(plain) ? "" : ".");
}
