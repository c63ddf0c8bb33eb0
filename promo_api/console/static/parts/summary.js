// @ts-check
// Describes a promo in words.

import { countryName, formatDate, today } from "../core/format.js";
import { text, valueName } from "../core/text.js";

/** Return sentences about a promo; one that is being typed may lack members. @param {Record<string, any>} promo */
export function describePromo(promo) {
	const { target = {}, max_per_user: n, low_stock_percent: percent } = promo;
	const person = n > 0 ? text("summary.per_person", { n }) : text("summary.unlimited");
	return [
		text("summary.when", { period: describePeriod(promo), audience: describeAudience(target) }),
		text("summary.limit", { uses: describeUses(promo), person }),
		target.categories?.length > 0 && text("summary.topics", { topics: target.categories.join(", ") }),
		promo.comments_enabled === false && text("summary.no_comments"),
		percent > 0 && text("summary.low_stock", { percent }),
		promo.activation_events && text("summary.events"),
	].filter((sentence) => typeof sentence === "string");
}

/** Return the people of a target, such as `people from 18 in France`. @param {Record<string, any>} target */
export function describeAudience({ age_from: from, age_until: until, country }) {
	const people = text(`summary.ages.${bounds(from >= 0, until >= 0)}`, { from, until });
	if (!country) {
		return people;
	}
	const hasArticle = text("summary.articles").includes(country.toLowerCase());
	return text(hasArticle ? "summary.in_the" : "summary.in", { people, country: countryName(country) });
}

/** Return the days of a promo. @param {Record<string, any>} promo */
export function describeDays(promo) {
	const { from, until } = readDays(promo);
	return text(`summary.days.${bounds(from, until)}`, { from, until });
}

/** @param {Record<string, any>} promo */
function describePeriod(promo) {
	const { from, until } = readDays(promo);
	if (promo.active_until < today()) {
		return text("summary.ended", { until });
	}
	const isNew = !promo.promo_id && !from && !until;
	return isNew ? text("summary.at_once") : text(`summary.period.${bounds(from, until)}`, { from, until });
}

/** @param {Record<string, any>} promo */
function readDays({ active_from: from, active_until: until }) {
	return { from: from && formatDate(from), until: until && formatDate(until) };
}

/** @param {any} from @param {any} until */
function bounds(from, until) {
	return `${from ? "from" : ""}${until ? "until" : ""}` || "any";
}

/** @param {Record<string, any>} promo */
function describeUses({ mode, max_count: limit, promo_unique: codes, codes_count: count = codes?.length }) {
	const n = mode === "UNIQUE" ? count : limit;
	return n >= 0 ? text(`summary.${mode}`, { n }) : valueName("mode", mode);
}
