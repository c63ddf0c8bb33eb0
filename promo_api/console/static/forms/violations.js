// @ts-check
// Checks a value against its schema, with the messages that the service would return.

import { resolve } from "../core/contract.js";
import { text } from "../core/text.js";

/** @type {[keyof Schema, (value: any, limit: number) => boolean][]} */
const LIMITS = [
	["minLength", (value, limit) => typeof value !== "string" || characters(value) >= limit],
	["maxLength", (value, limit) => typeof value !== "string" || characters(value) <= limit],
	["minimum", (value, limit) => typeof value !== "number" || value >= limit],
	["maximum", (value, limit) => typeof value !== "number" || value <= limit],
	["minItems", (value, limit) => !Array.isArray(value) || value.length >= limit],
	["maxItems", (value, limit) => !Array.isArray(value) || value.length <= limit],
];

/**
 * Return the message about a value that breaks its schema, or null. The service checks some rules that a browser cannot.
 * @param {Schema} declared
 * @param {any} value
 * @returns {string | null}
 */
export function findViolation(declared, value) {
	const schema = resolve(declared);
	const broken = LIMITS.find(([name, holds]) => schema[name] !== undefined && !holds(value, schema[name]));
	if (broken !== undefined) {
		return text(`violations.${broken[0]}`, { n: schema[broken[0]] });
	}
	if (schema.type === "integer" && !Number.isInteger(value)) {
		return text("violations.integer");
	}
	if (typeof value === "string" && schema.pattern !== undefined && !matches(schema.pattern, value)) {
		return patternMessage(schema, value);
	}
	return schema.items && Array.isArray(value) ? itemViolation(schema.items, value) : null;
}

/** @param {Schema} schema @param {any[]} items */
function itemViolation(schema, items) {
	for (const [index, item] of items.entries()) {
		const message = findViolation(schema, item);
		if (message !== null) {
			return text("violations.item", { n: index + 1, message });
		}
	}
	return null;
}

/** @param {Schema} schema @param {string} value */
function patternMessage(schema, value) {
	const messages = schema["x-violation"] ?? text("violations.pattern");
	if (typeof messages === "string") {
		return messages;
	}
	return (messages.find(({ pattern }) => pattern === undefined || !matches(pattern, value)) ?? messages[0]).message;
}

/** @param {string} pattern @param {string} value */
function matches(pattern, value) {
	return new RegExp(pattern, "u").test(value);
}

/** @param {string} value */
function characters(value) {
	return [...value].length;
}
