/**
 * The story of a promo, with openapi-fetch and the types that openapi-typescript generates from api.yml.
 *
 * test_typescript_client.py generates contract.d.ts, compiles this file strictly and runs it with the URL of a server.
 * It calls every operation and prints the created data as JSON.
 */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";

import createClient, { type Client } from "openapi-fetch";

import type { components, paths } from "./contract.js";

type ApiError = components["schemas"]["ErrorBody"];
type ApiResponse<T> = { data?: T; error?: ApiError; response: Response };

const baseUrl = process.argv[2] ?? "";
const password = "Str0ng&Hot";

function signedIn(token?: string): Client<paths> {
  return createClient<paths>({ baseUrl, headers: token === undefined ? {} : { Authorization: `Bearer ${token}` } });
}

function good<T>(response: ApiResponse<T>, status = 200): T {
  assert.equal(response.response.status, status, JSON.stringify(response.error));
  assert(response.data !== undefined);
  return response.data;
}

function refused(response: ApiResponse<unknown>, status: number): ApiError {
  assert.equal(response.response.status, status);
  assert(response.error !== undefined);
  assert.equal(response.error.status, "error");
  assert.notEqual(response.error.message, "");
  return response.error;
}

const guest = signedIn();
assert.equal(good(await guest.GET("/ping")).status, "ok");
assert.equal((await guest.GET("/health")).data?.dependencies.postgres.state, "up");

// A company signs up, is refused a second sign-up with the same e-mail address, and signs in.
const companyEmail = `typescript-${randomUUID()}@coffee.example`;
const signsUp = { body: { name: "Northern Coffee", email: companyEmail, password } };
const { company_id: companyId } = good(await guest.POST("/business/auth/sign-up", signsUp));
assert.equal(refused(await guest.POST("/business/auth/sign-up", signsUp), 409).details, undefined);
const companySignsIn = await guest.POST("/business/auth/sign-in", { body: { email: companyEmail, password } });
const companyToken = good(companySignsIn).token;
const company = signedIn(companyToken);

// The server sends mails, if it has a mail server, and refuses a guessed token. The company changes the password.
const forgotten = { body: { email: companyEmail } };
const reset = { body: { token: "x".repeat(64), password } };
assert([200, 503].includes((await guest.POST("/business/auth/forgot-password", forgotten)).response.status));
assert([200, 503].includes((await guest.POST("/user/auth/forgot-password", forgotten)).response.status));
assert.equal(refused(await guest.POST("/business/auth/reset-password", reset), 400).code, "reset_token_invalid");
assert.equal(refused(await guest.POST("/user/auth/reset-password", reset), 400).code, "reset_token_invalid");
const profile = good(await company.PATCH("/business/profile", { body: { password, old_password: password } }));
assert.deepEqual(profile, { id: companyId, name: "Northern Coffee", email: companyEmail });
assert.deepEqual(good(await company.GET("/business/profile")), profile);

// The company creates a promo of each mode and lists both. The mode determines the types of the other members.
const unique = good(
  await company.POST("/business/promo", {
    body: {
      mode: "UNIQUE",
      promo_unique: ["BEAN-1", "BEAN-2"],
      max_count: 1,
      description: "A free espresso",
      target: { age_from: 18, country: "fr", categories: ["coffee"] },
      active_from: "2025-01-10",
    },
  }),
  201,
).id;
const common = good(
  await company.POST("/business/promo", {
    body: {
      mode: "COMMON",
      promo_common: "COFFEE-20",
      max_count: 5,
      description: "Twenty percent off any coffee",
      target: {},
      image_url: "https://coffee.example/cup.png",
    },
  }),
  201,
).id;
const listed = await company.GET("/business/promo", {
  params: { query: { country: ["fr", "DE"], sort_by: "active_from", limit: 10 } },
});
assert.equal(listed.response.headers.get("X-Total-Count"), "2");
const [first, second] = good(listed);
assert(first?.mode === "UNIQUE" && second?.mode === "COMMON");
assert.deepEqual([first.promo_id, first.promo_unique, first.active_from], [unique, ["BEAN-1", "BEAN-2"], "2025-01-10"]);
assert.deepEqual([second.promo_id, second.promo_common, second.active_from], [common, "COFFEE-20", undefined]);
assert.equal(first.company_id, companyId);

// The company changes one promo and reads its history of changes. The error for a bad parameter has its location.
const ofCommon = { params: { path: { id: common } } };
const changed = good(
  await company.PATCH("/business/promo/{id}", { ...ofCommon, body: { max_count: 7, active_until: "2999-12-31" } }),
);
assert.deepEqual([changed.max_count, changed.active_until, changed.target], [7, "2999-12-31", {}]);
assert.deepEqual(good(await company.GET("/business/promo/{id}", ofCommon)), changed);
const changes = await company.GET("/business/promo/{id}/changes", ofCommon);
assert.equal(changes.response.headers.get("X-Total-Count"), "2");
const [newest, oldest] = good(changes);
assert.deepEqual([oldest?.number, oldest?.event, oldest?.changes], [1, "created", undefined]);
assert.deepEqual(
  [newest?.event, newest?.changes?.max_count, newest?.changes?.active_until],
  ["changed", { from: 5, to: 7 }, { to: "2999-12-31" }],
);
const found = await company.GET("/business/promo", {
  params: { query: { state: ["active", "paused"], mode: "COMMON", q: "coffee-2 off" } },
});
assert.deepEqual(good(found).map((promo) => promo.promo_id), [common]);
const error = refused(await company.GET("/business/promo", { params: { query: { limit: -1 } } }), 400);
assert.deepEqual(error.details?.map((violation) => [violation.in, violation.pointer]), [["query", "/limit"]]);

// A user signs up, signs in and finds the promo in the feed.
const userEmail = `typescript-${randomUUID()}@mail.example`;
good(
  await guest.POST("/user/auth/sign-up", {
    body: {
      name: "Marie",
      surname: "Blanc",
      email: userEmail,
      password,
      avatar_url: "https://mail.example/marie.jpg",
      other: { age: 34, country: "fr" },
    },
  }),
);
const userToken = good(await guest.POST("/user/auth/sign-in", { body: { email: userEmail, password } })).token;
const user = signedIn(userToken);
const feed = good(
  await user.GET("/user/feed", { params: { query: { category: "Coffee", active: true, limit: 100 } } }),
).map((promo) => promo.promo_id);
assert.deepEqual([feed.includes(unique), feed.includes(common)], [true, false]);
assert.deepEqual(good(await user.GET("/user/feed", { params: { query: { liked: true, q: "espresso" } } })), []);

// The user likes the promo and comments on it.
const ofUnique = { params: { path: { id: unique } } };
assert.equal(good(await user.POST("/user/promo/{id}/like", ofUnique)).status, "ok");
assert.equal(good(await user.DELETE("/user/promo/{id}/like", ofUnique)).status, "ok");
assert.equal(good(await user.POST("/user/promo/{id}/like", ofUnique)).status, "ok");
const written = good(
  await user.POST("/user/promo/{id}/comments", { ...ofUnique, body: { text: "The best one in town" } }),
  201,
);
assert(new Date(written.date) <= new Date());
assert.deepEqual(good(await user.GET("/user/promo/{id}/comments", ofUnique)), [written]);
const ofComment = { params: { path: { id: unique, comment_id: written.id } } };
const edited = good(
  await user.PUT("/user/promo/{id}/comments/{comment_id}", {
    ...ofComment,
    body: { text: "The second best one in town" },
  }),
);
assert.deepEqual([edited.id, edited.date, edited.author.surname], [written.id, written.date, "Blanc"]);
assert.deepEqual(good(await user.GET("/user/promo/{id}/comments/{comment_id}", ofComment)), edited);
assert.equal(good(await user.GET("/user/promo/{id}", ofUnique)).comment_count, 1);
good(await user.DELETE("/user/promo/{id}/comments/{comment_id}", ofComment));
refused(await user.GET("/user/promo/{id}/comments/{comment_id}", ofComment), 404);

// The company reads a comment, and removes it. The author cannot report it.
const bad = good(
  await user.POST("/user/promo/{id}/comments", { ...ofUnique, body: { text: "The worst one in town" } }),
  201,
);
const ofBad = { params: { path: { id: unique, comment_id: bad.id } } };
refused(await user.POST("/user/promo/{id}/comments/{comment_id}/report", { ...ofBad, body: { reason: "spam" } }), 403);
assert.deepEqual(good(await company.GET("/business/promo/{id}/comments", ofUnique)), [bad]);
assert.deepEqual(good(await company.GET("/business/promo/{id}/comments/{comment_id}", ofBad)), bad);
assert.deepEqual(good(await company.GET("/business/promo/{id}/comments/{comment_id}/reports", ofBad)), []);
good(await company.DELETE("/business/promo/{id}/comments/{comment_id}", ofBad));

// The user activates all codes, and lists them. A repeated request returns the same code.
assert.deepEqual(good(await user.GET("/user/promo/{id}/eligibility", ofUnique)), { eligible: true, reasons: [] });
const codes = [];
for (let turn = 0; turn < 2; turn += 1) {
  const keyed = { params: { ...ofUnique.params, header: { "Idempotency-Key": randomUUID() } } };
  const first = await user.POST("/user/promo/{id}/activate", keyed);
  const again = await user.POST("/user/promo/{id}/activate", keyed);
  assert.equal(again.response.headers.get("Idempotent-Replayed"), "true");
  assert.deepEqual(good(again), good(first));
  codes.push(good(first).promo);
}
const activations = await user.GET("/user/activations", { params: { query: { limit: 10 } } });
assert.equal(activations.response.headers.get("X-Total-Count"), "2");
assert.deepEqual(
  good(activations).map((entry) => [entry.promo_id, entry.code]),
  [...codes].reverse().map((code) => [unique, code]),
);
assert.deepEqual(codes.sort(), ["BEAN-1", "BEAN-2"]);
refused(await user.POST("/user/promo/{id}/activate", ofUnique), 403);
const eligibility = good(await user.GET("/user/promo/{id}/eligibility", ofUnique));
assert.deepEqual(eligibility, { eligible: false, reasons: ["exhausted"] });
const history = await user.GET("/user/promo/history");
assert.equal(history.response.headers.get("X-Total-Count"), "2");
assert.deepEqual(good(history).map((entry) => [entry.promo_id, entry.is_activated_by_user]), [
  [unique, true],
  [unique, true],
]);
const entry = good(history)[0];
assert.deepEqual(
  [entry?.mode, entry?.categories, entry?.active_from, entry?.active_until],
  ["UNIQUE", ["coffee"], "2025-01-10", undefined],
);

// The company adds codes to the exhausted promo by a file, and generates some. The promo is active again.
async function finished(id: string) {
  for (;;) {
    const job = good(await company.GET("/business/jobs/{id}", { params: { path: { id } } }));
    if (job.finished_at !== undefined) return job;
  }
}
const file = await company.POST("/business/promo/{id}/codes", {
  ...ofUnique,
  body: "Code;Note\r\nBEAN-2;again\r\nBEAN-3;new\r\nX;short\r\n",
  bodySerializer: (body) => body,
  headers: { "Content-Type": "text/csv" },
});
const job = await finished(good(file, 202).id);
assert.deepEqual([job.state, job.received, job.accepted, job.duplicates, job.rejected], ["succeeded", 3, 1, 1, 1]);
assert.equal(good(await user.GET("/user/promo/{id}", ofUnique)).active, true);
const rejected = await company.GET("/business/jobs/{id}/errors", {
  params: { path: { id: job.id } },
  parseAs: "text",
});
assert.match(good(rejected), /^{"line":4,"reason":"too_short",/);
const generation = { body: { count: 5, pattern: "BEAN-########" } };
const generated = good(await company.POST("/business/promo/{id}/codes/generate", { ...ofUnique, ...generation }), 202);
assert.equal((await finished(generated.id)).accepted, 5);
const jobs = good(await company.GET("/business/jobs"));
assert.deepEqual(jobs.map((each) => each.id), [generated.id, job.id]);
const available = good(
  await company.GET("/business/promo/{id}/codes", {
    params: { ...ofUnique.params, query: { state: "available" } },
  }),
);
assert(Array.isArray(available));
assert.deepEqual(available.map((each) => each.position), [3, 4, 5, 6, 7, 8]);

// The company checks a code, holds it, confirms and voids the redemption, and releases another hold.
const validity = good(await company.POST("/business/redemptions/validate", { body: { code: "bean-1" } }));
assert.deepEqual([validity.valid, validity.promo?.promo_id], [true, unique]);
const hold = { body: { code: "bean-1", order_ref: "A-1", hold_s: 60 } };
const held = good(await company.POST("/business/redemptions", hold), 201);
const ofHeld = { params: { path: { id: held.id } } };
assert.deepEqual([held.code, held.state], ["BEAN-1", "held"]);
assert.equal(good(await company.POST("/business/redemptions/{id}/confirm", ofHeld)).state, "confirmed");
assert.equal(good(await company.POST("/business/redemptions/{id}/void", ofHeld)).state, "voided");
const again = good(await company.POST("/business/redemptions", hold), 201);
const ofAgain = { params: { path: { id: again.id } } };
const released = good(await company.POST("/business/redemptions/{id}/release", ofAgain));
assert.deepEqual(good(await company.GET("/business/redemptions/{id}", ofAgain)), released);
const redemptions = good(await company.GET("/business/redemptions", { params: { query: { order_ref: "A-1" } } }));
assert.deepEqual(redemptions.map((each) => each.id), [again.id, held.id]);

// The company reads its events. They are published within a second or two, so the list may still be empty.
const events = good(await company.GET("/business/events", { params: { query: { type: ["promo.exhausted"] } } }));
assert.ok(events.every((each) => each.type === "promo.exhausted" && each.data.used_count === each.data.use_limit));

// The user changes the surname; null leaves a value unchanged.
const renamed = good(await user.PATCH("/user/profile", { body: { surname: "Noir", avatar_url: null } }));
assert.deepEqual([renamed.surname, renamed.avatar_url], ["Noir", "https://mail.example/marie.jpg"]);
assert.deepEqual(good(await user.GET("/user/profile")), renamed);

// The user exports all stored data.
const exported = good(await user.GET("/user/export"));
assert.deepEqual([exported.profile, exported.likes, exported.comments], [renamed, [unique], []]);
assert.deepEqual(exported.activations.map((entry) => entry.promo).sort(), codes);
const nextPage = good(await user.GET("/user/export", { params: { query: { offset: 10_000 } } }));
assert.deepEqual(nextPage.activations, []);

// The company reads the statistics. Its token is refused by operations of users.
const stat = good(await company.GET("/business/promo/{id}/stat", ofUnique));
assert.deepEqual(stat, { activations_count: 2, countries: [{ country: "fr", activations_count: 2 }] });
const perWeek = { bucket: "week", time_zone: "Asia/Kathmandu", by: "country" } as const;
const series = good(
  await company.GET("/business/promo/{id}/stat/series", { params: { ...ofUnique.params, query: perWeek } }),
);
assert(typeof series !== "string");
assert.equal(series.buckets.at(-1)?.countries?.[0]?.activations, 2);
const ofAll = good(await company.GET("/business/stat/series", { params: { query: { bucket: "day" } } }));
assert(typeof ofAll !== "string");
assert.equal(ofAll.buckets.length, 30);
refused(await company.GET("/user/profile"), 401);

// The company creates an API key, which reads its promos and changes none, and revokes it.
const key = good(await company.POST("/business/keys", { body: { name: "Reports", scopes: ["read"] } }), 201);
assert.deepEqual(good(await company.GET("/business/keys")).map((each) => [each.id, each.scopes]), [[key.id, ["read"]]]);
const program = createClient<paths>({ baseUrl, headers: { "X-Api-Key": key.key } });
assert.deepEqual(good(await program.GET("/business/promo/{id}/stat", ofUnique)), stat);
const change = { ...ofUnique, body: { max_count: 1 } };
assert.equal(refused(await program.PATCH("/business/promo/{id}", change), 403).code, "scope_missing");
const ofKey = { params: { path: { id: key.id } } };
assert.equal(good(await company.DELETE("/business/keys/{id}", ofKey)).status, "ok");
assert.equal(refused(await program.GET("/business/promo/{id}/stat", ofUnique), 401).code, "key_revoked");

// The company creates a webhook, tests it, rotates its secret and deletes it.
const stock = { url: "https://shop.example/hooks", event_types: ["promo.exhausted" as const] };
const webhook = good(await company.POST("/business/webhooks", { body: stock }), 201);
const ofWebhook = { params: { path: { id: webhook.id } } };
assert.deepEqual(good(await company.GET("/business/webhooks")).map((each) => each.id), [webhook.id]);
assert.deepEqual(good(await company.GET("/business/webhooks/{id}", ofWebhook)).event_types, ["promo.exhausted"]);
const allTypes = good(await company.PATCH("/business/webhooks/{id}", { ...ofWebhook, body: { event_types: null } }));
assert.equal(allTypes.event_types, undefined);
assert.notEqual(good(await company.POST("/business/webhooks/{id}/rotate-secret", ofWebhook)).secret, webhook.secret);
const testId = good(await company.POST("/business/webhooks/{id}/test", ofWebhook), 202).event_id;
// The list may also have events from before the webhook, which were published after it was created.
async function listedDelivery(eventId: string) {
  for (;;) {
    const deliveries = good(await company.GET("/business/webhooks/{id}/deliveries", ofWebhook));
    const delivery = deliveries.find((each) => each.event_id === eventId);
    if (delivery !== undefined) return delivery;
  }
}
assert.equal((await listedDelivery(testId)).event_type, "webhook.test");
const since = { ...ofWebhook, body: { since: "2025-01-16T12:30:00Z" } };
assert.equal(good(await company.POST("/business/webhooks/{id}/redeliver", since), 202).status, "ok");
assert.equal(good(await company.DELETE("/business/webhooks/{id}", ofWebhook)).status, "ok");

// Another company and another user sign out.
const otherEmail = `typescript-${randomUUID()}@mail.example`;
const other = { name: "Paul", surname: "Gris", email: otherEmail, password, other: { age: 41, country: "fr" } };
const otherCompany = signedIn(
  good(
    await guest.POST("/business/auth/sign-up", { body: { name: "Southern Coffee", email: otherEmail, password } }),
  ).token,
);
const otherUser = signedIn(good(await guest.POST("/user/auth/sign-up", { body: other })).token);
assert.equal(good(await otherCompany.POST("/business/auth/sign-out")).status, "ok");
refused(await otherCompany.GET("/business/promo"), 401);
assert.equal(good(await otherUser.POST("/user/auth/sign-out")).status, "ok");
refused(await otherUser.GET("/user/profile"), 401);

// That user signs in again and deletes the account.
const otherSignsIn = { body: { email: otherEmail, password } };
const deletedUser = signedIn(good(await guest.POST("/user/auth/sign-in", otherSignsIn)).token);
refused(await deletedUser.DELETE("/user/profile", { body: { password: "Wr0ng&Hot" } }), 403);
assert.equal(good(await deletedUser.DELETE("/user/profile", { body: { password } })).status, "ok");
refused(await deletedUser.GET("/user/profile"), 401);
refused(await guest.POST("/user/auth/sign-in", otherSignsIn), 401);

console.log(
  JSON.stringify({
    company_email: companyEmail,
    company_token: companyToken,
    user_email: userEmail,
    user_token: userToken,
    unique,
    common,
  }),
);
