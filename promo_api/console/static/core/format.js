// @ts-check
// Numbers, dates and countries as people read them.

import { LANGUAGE } from "./text.js";

// Days of promos are those of UTC+3; POSIX signs are reversed.
const BUSINESS_ZONE = "Etc/GMT-3";
const numbers = new Intl.NumberFormat(LANGUAGE);
const percents = new Intl.NumberFormat(LANGUAGE, { style: "percent", maximumFractionDigits: 0 });
const days = new Intl.DateTimeFormat(LANGUAGE, { day: "numeric", month: "long", timeZone: "UTC" });
const daysWithYear = new Intl.DateTimeFormat(LANGUAGE, { day: "numeric", month: "long", year: "numeric", timeZone: "UTC" });
const times = new Intl.DateTimeFormat(LANGUAGE, { dateStyle: "medium", timeStyle: "short" });
const clock = new Intl.DateTimeFormat(LANGUAGE, { timeStyle: "medium" });
const hours = new Intl.DateTimeFormat(LANGUAGE, { weekday: "short", hour: "2-digit", minute: "2-digit" });
const regions = new Intl.DisplayNames(LANGUAGE, { type: "region" });
const businessDay = new Intl.DateTimeFormat("sv-SE", { timeZone: BUSINESS_ZONE });

/** @param {number} value */
export const formatNumber = (value) => numbers.format(value);
/** @param {number} part @param {number} whole */
export const formatPercent = (part, whole) => percents.format(whole === 0 ? 0 : part / whole);
/** @param {string} time as in RFC 3339 */
export const formatTime = (time) => times.format(new Date(time));
/** @param {string} time as in RFC 3339 */
export const formatHour = (time) => hours.format(new Date(time));
/** @param {Date} time */
export const formatClock = (time) => clock.format(time);
/** @param {string} code a country code in any case */
export const countryName = (code) => regions.of(code.toUpperCase()) ?? code.toUpperCase();

/** Return a date such as 30 November, with the year unless it is the current year. @param {string} date as in RFC 3339 */
export function formatDate(date) {
	const format = date.slice(0, 4) === today().slice(0, 4) ? days : daysWithYear;
	return format.format(new Date(`${date}T00:00:00Z`));
}

/** Return the date of today in the calendar of promos. */
export function today() {
	return businessDay.format(new Date());
}

/** Return a date that is some days later. @param {string} date @param {number} count */
export function addDays(date, count) {
	const moved = new Date(`${date}T00:00:00Z`);
	moved.setUTCDate(moved.getUTCDate() + count);
	return moved.toISOString().slice(0, 10);
}
