//! One deliberately broken policy of each kind, and the message its author sees.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use redress_domain::policy::Policy;

const BASE: &str = include_str!("policies/broken-base.toml");

/// The first message of the base policy with one thing replaced: `line:column code: message | remedy`.
fn message(replace: &str, with: &str) -> String {
    assert!(replace.is_empty() || BASE.contains(replace), "{replace}");
    let source = if replace.is_empty() { format!("{BASE}\n{with}") } else { BASE.replacen(replace, with, 1) };
    let found = match Policy::compile(&source, "p.toml") {
        Ok(policy) => policy.notes().to_vec(),
        Err(found) => found,
    };
    // What refuses the policy comes before what only warns.
    found.iter().min_by_key(|found| std::cmp::Reverse(found.severity)).map_or_else(
        || "nothing".to_owned(),
        |first| format!("{}:{} {}: {} | {}", first.line, first.column, first.code, first.message, first.remedy),
    )
}

#[test]
fn the_base_is_good() {
    assert_eq!(message("", ""), "nothing");
}

#[test]
fn each_kind_of_mistake_has_its_message() {
    let cases: &[(&str, &str, &str)] = &[
        (
            "policy    = \"line-down\"",
            "policy    = line-down",
            "1:13 toml-syntax: string values must be quoted, expected literal string | correct the TOML here: `key = value`, texts in double quotes, tables as [name], rules as [[rule]]",
        ),
        (
            "policy    = \"line-down\"",
            "policy    = \"line\\u0000down\"",
            "1:13 bad-text: a text has the character U+0000, which no database keeps | take the escape for it out: \\u0000",
        ),
        (
            "policy    = \"line-down\"\n",
            "",
            "1:1 missing-key: a policy needs the key `policy` | write it like this: policy = \"kakaotalk-merchant-loss\"",
        ),
        (
            "policy    = \"line-down\"",
            "policy    = \"Line Down\"",
            "1:13 wrong-value: policy \"Line Down\" may have only a-z, 0-9 and inner hyphens | use a-z, 0-9 and hyphens between them",
        ),
        (
            "basis     = \"claim\"",
            "basis     = \"claims\"",
            "2:13 unknown-value: no basis is called \"claims\" | did you mean \"claim\"?",
        ),
        ("title     =", "titel     =", "4:1 unknown-key: a policy has no key `titel` | did you mean `title`?"),
        (
            "title     = { ko = \"회선 장애\", en = \"Line down\" }",
            "title     = { ko = \"회선 장애\" }",
            "4:13 missing-key: `title` needs the key `en` | write it like this: { ko = \"…\", en = \"…\" }",
        ),
        (
            "title     = { ko = \"회선 장애\", en = \"Line down\" }\n",
            "",
            "1:1 recommended-key: the policy has no `title` | write it like this: title = { ko = \"…\", en = \"…\" }",
        ),
        (
            "title     = { ko = \"회선 장애\", en = \"Line down\" }",
            "title     = \"Line down\"",
            "4:13 wrong-value: `title` must be a table, but this is a text | write it like this: { key = value }",
        ),
        (
            "zone      = \"Asia/Seoul\"",
            "zone      = \"Asia/Soul\"",
            "5:13 unknown-zone: no time zone is called 'Asia/Soul' | did you mean 'Asia/Seoul'?",
        ),
        (
            "date      = \"claim.day\"",
            "date      = \"claim.loss\"",
            "6:14 type: `date` must be a date or a timestamp, but this is money of KRW | name a fact: date = \"claim.journey_date\"",
        ),
        (
            "date      = \"claim.day\"\n",
            "",
            "41:37 no-date: `parameter.daily` has dated values, but nothing says which date chooses | name it for the policy (`date = \"claim.…\"` at the top), for the rule, or here: on(parameter.…, date)",
        ),
        (
            "reference = \"terms, 2026\"\n",
            "",
            "35:1 no-reference: the rule `rule-1` has no reference, and neither has the policy | say where it was announced: reference = \"…\"",
        ),
        (
            "policy    = \"line-down\"",
            "policy    = \"line-down\"\nincident = \"x\"",
            "1:1 missing-key: a policy needs the key `service` | write it like this: service = \"kakaotalk\"",
        ),
        (
            "\"claim.kind\"      = { type = \"enum\", values = [\"home\", \"shop\"] }",
            "\"claim.kind\"      = { type = \"enum\" }",
            "12:21 missing-key: the fact \"claim.kind\" needs the key `values` | write it like this: { type = \"enum\", values = [\"web\", \"app_store\"] }",
        ),
        (
            "\"claim.kind\"      =",
            "\"kind\"      =",
            "12:1 wrong-name: `kind` is no name for a fact | begin with who vouches for it: holding., customer., incident., claim. or evidence., then a-z, 0-9 and _",
        ),
        (
            "type = \"decimal\"",
            "type = \"float\"",
            "13:30 unknown-value: no type is called \"float\" | write one of 'bool', 'int', 'decimal', 'money', 'text', 'enum', 'date', 'timestamp', …",
        ),
        (
            "asset = \"KRW\" }\n\"claim.minutes\"",
            "asset = \"WON\" }\n\"claim.minutes\"",
            "10:47 unknown-asset: \"WON\" is no currency of ISO 4217 known here | write it like this: \"KRW\" or \"day:melon\"",
        ),
        (
            "\"claim.share\"     = { type = \"decimal\", min = 0, max = 1 }",
            "\"claim.share\"     = { type = \"decimal\", min = 2, max = 1 }",
            "13:50 wrong-value: `max` (1) is below `min` (2) | exchange or correct them",
        ),
        (
            "\"claim.share\"     = { type = \"decimal\", min = 0, max = 1 }",
            "\"claim.share\"     = { type = \"decimal\", default = \"half\" }",
            "13:51 wrong-value: the fact `claim.share` must be a plain number, but it is 'half' | write the default as in a facts file",
        ),
        (
            "\"claim.day\"       = { type = \"date\" }",
            "\"claim.day\"       = { type = \"date\", min = 3 }",
            "9:38 unknown-key: `min` belongs to numbers | take it out",
        ),
        (
            "\"claim.day\"       = { type = \"date\" }",
            "\"claim.day\"       = { type = \"date\" }\n\"holding.kind\"    = { type = \"int\" }",
            "10:23 type: `holding.kind` is built in and is a text | give it that type, or leave the declaration out",
        ),
        (
            "\"claim.loss <= 1_000\"",
            "\"claim.los <= 1_000\"",
            "41:10 unknown-name: nothing is called `claim.los` here | did you mean `claim.loss`?",
        ),
        (
            "\"claim.loss <= 1_000\"",
            "\"loss <= 1_000\"",
            "41:10 unknown-name: nothing is called `loss` here | did you mean `claim.loss`?",
        ),
        (
            "\"claim.loss <= 1_000\"",
            "\"claim.loss <= 1,000\"",
            "41:25 syntax: `,` is not expected here: the expression should end here | group digits by `_`: 300_000",
        ),
        (
            "\"claim.loss <= 1_000\"",
            "\"claim.loss =< 1_000\"",
            "41:21 syntax: `=` has no meaning here | comparison is written `==`",
        ),
        (
            "\"claim.loss <= 1_000\"",
            "\"claim.loss <= 1e3\"",
            "41:24 syntax: `1e3` is not an exact number | write all the digits, without an exponent",
        ),
        (
            "\"claim.loss <= 1_000\"",
            "\"1 <= claim.loss <= 1_000\"",
            "41:26 syntax: comparisons cannot be chained: one comparison has two sides | write both comparisons: `15 <= x && x < 30`",
        ),
        (
            "\"claim.loss <= 1_000\"",
            "\"claim.loss <= 1_000 and claim.share > 0\"",
            "41:30 syntax: `and` is not a word of the language: the expression should end here | write `&&`",
        ),
        (
            "\"claim.loss <= 1_000\"",
            "\"claim.loss <= '1000'\"",
            "41:10 type: `<=` does not join money of KRW and a text | write a number without quotes: 1000",
        ),
        (
            "\"claim.loss <= 1_000\"",
            "\"claim.loss <= claim.minutes\"",
            "41:10 unit: `<=` does not join money of KRW and a number of minutes | money of one asset meets only money of the same asset, and days only days; convert one of them first",
        ),
        (
            "\"claim.loss <= 1_000\"",
            "\"claim.loss <= claim.share\"",
            "41:10 unit: `<=` does not join money of KRW and a plain number | say what the number counts: money(…, 'KRW'), or declare the fact as money",
        ),
        (
            "\"claim.loss <= 1_000\"",
            "\"claim.loss + days(claim.day - claim.day) > 1\"",
            "41:10 unit: `+` does not join money of KRW and a number of days | money of one asset meets only money of the same asset, and days only days; convert one of them first",
        ),
        (
            "\"claim.loss <= 1_000\"",
            "\"claim.loss * holding.fee > 1\"",
            "41:10 unit: money times money means nothing | multiply money by a number: number(…) takes the unit away",
        ),
        (
            "\"claim.loss <= 1_000\"",
            "\"claim.loss\"",
            "41:10 type: a condition is true or false, but this is money of KRW | compare it with something: `… > 0`, `… == 'text'`",
        ),
        (
            "\"claim.loss <= 1_000\"",
            "\"claim.kind == 'shops'\"",
            "41:10 always-false: this condition is never true | its parts exclude each other, or the facts' declarations do; correct the bounds",
        ),
        (
            "\"claim.loss <= 1_000\"",
            "\"claim.kind < 'shop'\"",
            "41:10 type: `<` needs an order, and a text has none | only numbers, money, dates, timestamps and durations have an order; use `==` or `in`",
        ),
        (
            "\"claim.loss <= 1_000\"",
            "\"claim.day <= '2026-01-01'\"",
            "41:10 type: `<=` does not join a date and a text | write a date: date('2026-01-01')",
        ),
        (
            "\"claim.loss <= 1_000\"",
            "\"claim.day <= incident.started\"",
            "41:10 type: `<=` does not join a date and a timestamp | take the local date of the timestamp: local_date(…)",
        ),
        (
            "\"claim.loss <= 1_000\"",
            "\"claim.minutes > days_between(claim.day, claim.day)\"",
            "41:10 unit: `>` does not join a number of minutes and a number of days | money of one asset meets only money of the same asset, and days only days; convert one of them first",
        ),
        (
            "\"claim.loss <= 1_000\"",
            "\"100 / claim.share > 3\"",
            "41:16 division-by-zero: `claim.share` can be zero, and nothing divides by zero | declare a `min` above 0 for the fact, or ask first: `claim.share == 0 ? 0 : …`",
        ),
        (
            "\"claim.loss <= 1_000\"",
            "\"100 / 0 > 3\"",
            "41:16 division-by-zero: this divides by zero | declare a `min` above 0 for the fact, or ask first: `0 == 0 ? 0 : …`",
        ),
        (
            "\"claim.loss <= 1_000\"",
            "\"claim.loss <= 79228162514264337593543950335 * 10\"",
            "41:24 overflow: the result has more digits than an exact number can hold (28) | use smaller numbers",
        ),
        (
            "\"claim.loss <= 1_000\"",
            "\"now() > claim.day\"",
            "41:10 unknown-function: no function is called `now` | the functions are listed in docs/POLICIES.md; there is no clock and no randomness",
        ),
        (
            "\"claim.loss <= 1_000\"",
            "\"is_workingday(claim.day, calendar.kr)\"",
            "41:10 unknown-function: no function is called `is_workingday` | did you mean `is_working_day`?",
        ),
        (
            "\"claim.loss <= 1_000\"",
            "\"is_working_day(claim.day, calendar.uk)\"",
            "41:36 unknown-name: no such calendar | declare it: [calendar.name] with holidays, and write calendar.name here",
        ),
        (
            "\"claim.loss <= 1_000\"",
            "\"is_working_day(claim.day)\"",
            "41:10 arguments: `is_working_day` does not take 1 argument(s) | write it like this: is_working_day(date, calendar.x)",
        ),
        (
            "\"claim.loss <= 1_000\"",
            "\"round(claim.loss, 'nearest', 10) > 1\"",
            "41:28 unknown-value: no rounding mode is called 'nearest' | write 'up', 'down', 'ceiling', 'floor', 'half_up', 'half_down' or 'half_even'",
        ),
        (
            "\"claim.loss <= 1_000\"",
            "\"round(claim.loss, 'up', 0) > 1\"",
            "41:34 rounding-unit: the unit to round to is a written number (or duration) above zero | write it like this: round(x, 'half_up', 10) or round(d, 'up', duration('1h'))",
        ),
        (
            "\"claim.loss <= 1_000\"",
            "\"claim.loss in [1, 'a']\"",
            "41:28 type: the elements of a list are alike, but a plain number stands beside a text | take out what does not belong; lists hold no lists",
        ),
        (
            "\"claim.loss <= 1_000\"",
            "\"claim.loss in 5\"",
            "41:24 type: `in` asks whether something is in a list, but this is a plain number | write a list: `x in ['a', 'b']`",
        ),
        (
            "\"claim.loss <= 1_000\"",
            "\"sum(incident.windows) > 1\"",
            "41:14 type: only numbers, money and durations add up, but this is a window | use count(…), or name what to add: sum(list, x, length(x))",
        ),
        (
            "\"claim.loss <= 1_000\"",
            "\"claim.loss <= parameter.dayly\"",
            "41:24 unknown-name: no parameter is called `dayly` | did you mean `parameter.daily`?",
        ),
        (
            "\"claim.loss <= 1_000\"",
            "\"claim.loss <= derived.halv\"",
            "41:24 unknown-name: nothing is called `derived.halv` here | did you mean `derived.half`?",
        ),
        (
            "\"claim.loss <= 1_000\"",
            "\"claim.loss <= 1_000 && incident.window.start > incident.started\"",
            "41:33 unknown-name: a window has no field `start` | only windows have fields: `.from` and `.until`",
        ),
        (
            "half = \"claim.loss / 2 + holding.fee\"",
            "half = \"derived.whole / 2\"\nwhole = \"derived.half * 2\"",
            "22:10 circle: `derived.half` is worked out from itself | break the circle: a derived fact may use only others",
        ),
        (
            "zone      = \"Asia/Seoul\"\ndate      = \"claim.day\"",
            "date      = \"incident.started\"",
            "5:14 no-zone: the date of an instant depends on the time zone, but the policy names none | write `zone = \"Asia/Seoul\"` at the top of the file, or local_date(…, 'Asia/Seoul') here",
        ),
        (
            "when    = \"claim.loss == 0\"\n",
            "",
            "36:1 missing-key: a rule needs a condition | write when = \"claim.loss > 0\", or otherwise = true",
        ),
        (
            "when    = \"claim.loss == 0\"",
            "when    = \"claim.loss == 0\"\notherwise = true",
            "38:1 one-of: a rule has `when` or `otherwise`, not both | keep one of the two",
        ),
        (
            "decline = \"too-small\"",
            "decline = \"too-small\"\nreview = \"people\"",
            "36:1 one-of: a rule does one thing, but this one has decline and review | split it into several rules",
        ),
        (
            "decline = \"too-small\"\n",
            "",
            "36:1 missing-key: the rule says nothing of what follows | add award = […], decline = \"…\", review = \"…\" or pending = true",
        ),
        (
            "decline = \"too-small\"",
            "decline = \"to-small\"",
            "38:11 reason-without-wording: the reason \"to-small\" has no wording for claimants | did you mean \"too-small\"? Otherwise declare it: [reason.to-small]",
        ),
        (
            "decline = \"too-small\"",
            "decline = \"Too small\"",
            "38:11 wrong-name: \"Too small\" is no code for a reason | use a-z, 0-9, - and _, beginning with a letter or digit",
        ),
        (
            "\"parameter.daily + table.tier\"",
            "\"claim.minutes\"",
            "42:37 unit: an award of KRW is a number or money of KRW, but this is a number of minutes | correct the asset, or take the unit away: number(…)",
        ),
        (
            "\"parameter.daily + table.tier\"",
            "\"0.5\"",
            "42:37 award-precision: 0.5 has more than the 0 decimal digits of the asset: round it by name first | round it by name, or give the asset a scale: [asset.\"KRW\"] scale = …",
        ),
        ("\"parameter.daily + table.tier\"", "\"-5\"", "42:37 award-negative: -5 is below zero | an award only gives"),
        (
            "\"parameter.daily + table.tier\"",
            "\"claim.day - claim.day\"",
            "42:37 unit: an award of KRW is a number or money of KRW, but this is a duration | take the number out of the duration: hours(…) or days(…)",
        ),
        (
            "[[rule]]\notherwise = true\nreview    = \"people\"\n",
            "",
            "44:1 no-otherwise: some subjects may meet no rule | end with a rule for everything else: [[rule]] otherwise = true, and decline or review",
        ),
        (
            "[[rule]]\notherwise = true\nreview    = \"people\"\n",
            "[[rule]]\notherwise = true\nreview    = \"people\"\n[[rule]]\nwhen = \"claim.loss > 5\"\nreview    = \"people\"\n",
            "51:1 unreachable: no rule after `otherwise = true` is ever reached | move it before, or take it out",
        ),
        (
            "when  = \"claim.loss <= 1_000\"",
            "name = \"rule-1\"\nwhen  = \"claim.loss <= 1_000\"",
            "40:1 twice: two rules are called `rule-1` | give each its own name",
        ),
        (
            "review    = \"people\"",
            "review    = \"people\"\nevidence = [\"bill\"]",
            "51:13 unknown-name: no document is called \"bill\" | declare it: [evidence.bill] with title, of and above",
        ),
        (
            "\"claim.loss <= 1_000\"",
            "\"claim.loss < 0\"",
            "41:10 always-false: this condition is never true | its parts exclude each other, or the facts' declarations do; correct the bounds",
        ),
        (
            "\"claim.loss <= 1_000\"",
            "\"claim.loss > 5 && claim.loss < 3\"",
            "41:10 always-false: this condition is never true | its parts exclude each other, or the facts' declarations do; correct the bounds",
        ),
        (
            "\"claim.kind == 'shop'\"",
            "\"claim.loss <= 500\"",
            "45:10 unreachable: this rule is never reached: `rule-1`, `rule-2` before it already decide everything it could | move it before them, narrow them, or take it out",
        ),
        (
            "\"claim.kind == 'shop'\"",
            "\"claim.loss >= 1_000 && claim.loss <= 2_000\"",
            "45:10 overlap: `rule-2` and `rule-3` both claim the case that claim.loss is 1000 | let each bound belong to one of them: `<` here and `>=` there",
        ),
        (
            "\"claim.kind == 'shop'\"",
            "\"claim.loss >= 1_001 && claim.loss <= 2_000\"",
            "45:10 gap: between two rules nothing is said of the case that claim.loss is above 1000 and below 1001: it falls to `otherwise` | let the bounds meet: `<=` here and `>` there; if it is meant, write a waiver for the lint \"gap\"",
        ),
        (
            "when = \">= 60\"",
            "when = \">= 59\"",
            "26:43 overlap: `row 1` and `row 2` both claim the case that claim.minutes is 59 | let each bound belong to one of them: `<` here and `>=` there",
        ),
        (
            "when = \">= 60\"",
            "when = \">= 61\"",
            "26:43 gap: between two rows nothing is said of the case that claim.minutes is 60: it falls to `otherwise` | let the bounds meet: `<=` here and `>` there; if it is meant, write a waiver for the lint \"gap\"",
        ),
        (
            "otherwise = 0\n",
            "",
            "23:8 gap: no row says anything of the case that claim.minutes is at most 0 | add a row for it, or `otherwise = …`",
        ),
        (
            "rows = [ { when = \"1..59\", value = 500 }, { when = \">= 60\", value = 900 } ]",
            "rows = []",
            "23:8 missing-key: table \"tier\" needs 1 to 512 rows | rows = [ { when = \">= 15, < 30\", value = 25 } ]",
        ),
        (
            "when = \">= 60\", value = 900",
            "when = \">= 60\", value = \"claim.minutes / 2\"",
            "26:70 unit: the table's unit makes its values money of KRW, but this is a number of minutes | correct `unit`, or this value",
        ),
        (
            "{ from = 2026-01-01, value = 1_200 }",
            "{ from = 2019-01-01, value = 1_200 }",
            "18:50 wrong-order: the values stand in the order of their dates, each date once | put the earlier `from` first",
        ),
        (
            "holidays = [2026-01-01]",
            "holidays = [\"new year\"]",
            "30:13 wrong-value: a holiday must be a date, but this is a text | write it like this: 2026-12-25",
        ),
        (
            "",
            "[[cap]]\nper = \"person\"\nasset = \"KRW\"\nat_most = 5",
            "53:7 unknown-value: no scope of a cap is called \"person\" | did you mean \"period\"?",
        ),
        (
            "",
            "[[cap]]\nper = \"customer\"\nasset = \"KRW\"",
            "52:1 missing-key: `cap` needs the key `at_most` | write it like this: at_most = 100_000",
        ),
        (
            "",
            "[[cap]]\nper = \"customer\"\nasset = \"KRW\"\nat_most = 5\ntakers = 3",
            "56:1 unknown-key: `takers` belongs to a cap per programme | write per = \"programme\", or take it out",
        ),
        (
            "",
            "[[cap]]\nper = \"subject\"\nasset = \"KRW\"\nat_most = 5\nat_least = 7",
            "56:1 wrong-value: `at_least` is above `at_most` | exchange or correct them",
        ),
        (
            "",
            "[stacking]\ngroup = \"g\"\nrule = \"highest\"",
            "54:8 unknown-value: no rule of stacking is called \"highest\" | write one of 'highest-of', 'not-both'",
        ),
        (
            "",
            "[evidence.bill]\nof = \"claim.loss\"",
            "52:1 missing-key: evidence \"bill\" needs the key `above` | write it like this: of = \"claim.loss\", above = 500_000",
        ),
        (
            "",
            "[evidence.bill]\nof = \"claim.loss\"\nabove = 5",
            "52:11 unused-document: no rule asks for the document `bill` | list it in a rule's `evidence`, or take it out",
        ),
        (
            "",
            "[claim_window]\ncloses = \"claim.loss\"",
            "53:11 type: `closes` must be a date or a timestamp, but this is money of KRW | write it like this: \"add_days(claim.journey_date, 28)\"",
        ),
        (
            "",
            "[clock.c]\nstarts = \"claim.day\"\nstops = \"incident.started\"",
            "53:11 type: a clock wants a timestamp here, but this is a date | for a date, say at what time: start_of_day(…) or at(…, '09:00')",
        ),
        (
            "",
            "[asset.\"KRW\"]\npayment_method = true",
            "52:8 payment-method: `KRW` asks the claimant for a means of payment | grant it without one; or say why it is right: [[waive]] lint = \"payment-method\", of = \"KRW\", reason = \"…\"",
        ),
        (
            "",
            "[asset.\"KRW\"]\nrenews = true",
            "52:8 renews: `KRW` turns into a paid plan | let it end by itself; or say why it is right: [[waive]] lint = \"renews\", of = \"KRW\", reason = \"…\"",
        ),
        (
            "",
            "[asset.\"KRW\"]\nface = \"2_000 KRW\"\nmin_spend = \"3_500 KRW\"",
            "52:8 min-spend: `KRW` can be used only by spending more than it is worth, of the claimant's own money | lower `min_spend` to at most `face`; or say why it is right: [[waive]] lint = \"min-spend\", of = \"KRW\", reason = \"…\"",
        ),
        (
            "",
            "[asset.\"KRW\"]\nface = \"2_000 KRW\"\nusable = \"500 KRW\"",
            "52:8 usable-value: `KRW` is worth less to the claimant (500 KRW) than its face value (2000 KRW) | state the usable value as the face value, or raise it; or say why it is right: [[waive]] lint = \"usable-value\", of = \"KRW\", reason = \"…\"",
        ),
        (
            "",
            "[asset.\"KRW\"]\nface = \"2000\"",
            "53:8 wrong-value: `face` is an amount and its asset, but this is \"2000\" | write it like this: face = \"2_000 KRW\"",
        ),
        (
            "",
            "[asset.\"KRW\"]\nexpires_after = \"7d\"",
            "52:8 short-expiry: `KRW` expires after 7d, sooner than the minimum of 30d | let it be valid longer; or say why it is right: [[waive]] lint = \"short-expiry\", of = \"KRW\", reason = \"…\"",
        ),
        (
            "en = \"Too small.\"",
            "en = \"Too small.\"\nappealable = false",
            "32:9 no-appeal: who is declined for `too-small` cannot appeal | let it be appealed: take `appealable = false` out; or say why it is right: [[waive]] lint = \"no-appeal\", of = \"too-small\", reason = \"…\"",
        ),
        (
            "award = [{ asset = \"KRW\", amount = \"parameter.daily + table.tier\" }]",
            "award = [{ asset = \"KRW\", amount = \"parameter.daily + table.tier\" }]\nevidence = [\"bill\"]\n[evidence.bill]\ntitle = { ko = \"고지서\", en = \"Bill\" }",
            "44:11 early-evidence: `bill` is asked of everybody, however small the amount | ask only above an amount: of = \"claim.loss\", above = 500_000; or say why it is right: [[waive]] lint = \"early-evidence\", of = \"bill\", reason = \"…\"",
        ),
        (
            "award = [{ asset = \"KRW\", amount = \"parameter.daily + table.tier\" }]",
            "award = [{ asset = \"KRW\", amount = \"parameter.daily + table.tier\" }]\nevidence = [\"bill\"]\n[evidence.bill]\nof = \"claim.loss\"\nabove = 10\n[fairness]\nevidence_threshold = \"50 KRW\"",
            "44:11 early-evidence: `bill` is asked below the stated threshold of 50 KRW | raise `above` to the threshold; or say why it is right: [[waive]] lint = \"early-evidence\", of = \"bill\", reason = \"…\"",
        ),
        (
            "",
            "[[waive]]\nlint = \"renews\"\nreason = \"because\"",
            "52:1 unused-waiver: the waiver of `renews` waives nothing | take the waiver out, or correct `lint` and `of`",
        ),
        (
            "",
            "[[waive]]\nlint = \"renew\"\nreason = \"because\"",
            "53:8 unknown-value: no lint is called \"renew\" | did you mean \"renews\"?",
        ),
        (
            "\"claim.share\"     = { type = \"decimal\", min = 0, max = 1 }",
            "\"claim.share\"     = { type = \"decimal\", optional = true }\n\"claim.extra\"     = { type = \"bool\", optional = true }",
            "14:1 unused-fact: `claim.extra` is declared but never used | use it, or take it out",
        ),
    ];
    let mut wrong = Vec::new();
    for (replace, with, expected) in cases {
        let found = message(replace, with);
        if found != *expected {
            wrong.push(format!("{replace:?} -> {with:?}\n   expected {expected}\n   found    {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn hostile_expressions_are_refused_at_once() {
    let deep = format!("\"{}true{}\"", "(".repeat(100), ")".repeat(100));
    let long = format!("\"claim.loss <= 1_000 // {}\"", "x".repeat(9_000));
    let condition = "\"claim.loss <= 1_000\"";
    assert_eq!(
        message(condition, &deep),
        "41:107 too-deep: this expression is nested deeper than 96 levels | split it into derived facts"
    );
    assert_eq!(
        message(condition, &long),
        "41:9 too-long: this expression has 9023 bytes; at most 8192 are read | split it into derived facts"
    );
}
