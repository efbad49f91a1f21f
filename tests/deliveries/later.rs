//! Services that answer later, by the route of acknowledgements, with an API key of their own.

use serde_json::{Value, json};

use super::{balance, due, ids, pass, states, with_peer};
use crate::harness::{Client, Redress, Server};
use crate::peer::Mood;

/// A key that may acknowledge, of a member who works for one service.
fn key<'a>(redress: &Redress, server: &'a Server, service: &str) -> Client<'a> {
    let name = format!("machine-{service}");
    redress.run(&["staff", "add", &name, "--role", "finance", "--service", service]).succeeds();
    let token = format!("redress_key_{}", redress.text("replace(gen_random_uuid()::text, '-', '')"));
    redress.sql(&format!(
        "INSERT INTO api_key (id, staff, label, scopes, token_hash, days, created_by, created_at, expires_at) VALUES
         (gen_random_uuid(), '{name}', 'test', '[\"manage_deliveries\"]', sha256('{token}'), 1, '{name}', now(), now() + interval '1 day')"
    ));
    Client { server, token }
}

fn figures(taken: &Value) -> (u64, u64, u64, usize) {
    let figure = |name: &str| taken[name].as_u64().unwrap();
    (figure("recorded"), figure("already"), figure("refused"), taken["rejected"].as_array().unwrap().len())
}

#[test]
fn a_service_may_acknowledge_later_credit_by_credit_and_twice() {
    Redress::test(|redress| {
        let (peer, _) = with_peer(redress, 5);
        peer.set(Mood::Later);
        assert_eq!(pass(redress), [0, 0, 0, 1, 0, 0]);
        assert_eq!((states(redress).as_str(), balance(redress, "owed/day:melon").as_str()), ("awaiting", "15"));
        assert_eq!(pass(redress), [0; 6], "it has a day");
        let told = peer.calls()[0].json()["data"]["credits"].clone();
        let row = |place: usize, more: Value| {
            let mut row = json!({ "customer": told[place]["customer"], "credit": told[place]["id"] });
            row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            row
        };
        let server = redress.serve();
        let (melon, webtoon) = (key(redress, &server, "melon"), key(redress, &server, "webtoon"));
        let say = |client: &Client<'_>, results: &[Value]| {
            let body = json!({ "results": results }).to_string();
            client.send("POST", "/v1/deliveries/acknowledgements", &[("content-type", "application/json")], body)
        };
        // Another service's key knows none of these credits.
        let foreign = say(&webtoon, &[row(0, json!({}))]).json();
        assert_eq!((figures(&foreign), &foreign["rejected"][0]["code"]), ((0, 0, 0, 1), &"credit_unknown".into()));
        let some = [
            row(0, json!({ "attempt": 1 })),
            row(1, json!({ "status": "refused", "reason": "account-closed" })),
            row(2, json!({ "amount": "2" })),
            json!({ "customer": "nobody", "credit": told[0]["id"] }),
            row(3, json!({ "amount": "4" })),
        ];
        let taken = say(&melon, &some).json();
        assert_eq!(figures(&taken), (2, 0, 2, 2), "{taken}");
        let codes: Vec<&Value> = taken["rejected"].as_array().unwrap().iter().map(|no| &no["code"]).collect();
        assert_eq!(codes, ["credit_unknown", "credit_more_than_owed"]);
        // The same again changes nothing.
        assert_eq!(figures(&say(&melon, &some).json()), (0, 4, 0, 2));
        let refused = say(&melon, &[row(0, json!({ "status": "refused" }))]).json();
        assert_eq!(refused["rejected"][0]["code"], "credit_delivered", "{refused}");
        assert_eq!(states(redress), "awaiting");
        // Whoever is silent is told again after a day, as the same call.
        due(redress);
        crate::harness::wait_until("it was told again", || peer.calls().len() == 2);
        assert_eq!(ids(&peer.calls())[0], ids(&peer.calls())[1]);
        assert!(peer.calls()[0].body == peer.calls()[1].body);
        crate::harness::wait_until("that is recorded", || {
            redress.number("SELECT count(*) FROM delivery WHERE next_at > now() + interval '23 hours'") == 1
        });
        let rest = say(&melon, &[row(3, json!({})), row(4, json!({ "date": "2022-10-01" })), row(4, json!({}))]).json();
        assert_eq!(
            (figures(&rest), &rest["rejected"][0]["code"]),
            ((2, 0, 0, 1), &"date_before_original".into()),
            "{rest}"
        );
        assert_eq!((states(redress).as_str(), balance(redress, "owed/day:melon").as_str()), ("refused", "4"));
        // The service grants what it refused after all, and the rest of what it granted in part.
        let after = say(&melon, &[row(1, json!({})), row(2, json!({ "attempt": 2 }))]).json();
        assert_eq!(figures(&after), (2, 0, 0, 0), "{after}");
        assert_eq!((states(redress).as_str(), balance(redress, "owed/day:melon").as_str()), ("done", "0"));
        // What is no list of results is refused whole.
        for (wrong, pointer) in [
            (json!({ "results": [] }), "/results"),
            (json!({ "results": [row(0, json!({ "amount": "1e3" }))] }), "/results/0/amount"),
            (json!({ "results": [row(0, json!({ "status": "perhaps" }))] }), "/results/0/status"),
        ] {
            let body = wrong.to_string();
            let answer =
                melon.send("POST", "/v1/deliveries/acknowledgements", &[("content-type", "application/json")], body);
            assert_eq!(answer.is_problem(422, "invalid_request")["errors"][0]["pointer"], pointer, "{wrong}");
        }
    });
}

#[test]
fn what_is_delivered_by_hand_meanwhile_ends_the_delivery() {
    Redress::test(|redress| {
        let (peer, _) = with_peer(redress, 3);
        peer.set(Mood::Later);
        assert_eq!(pass(redress), [0, 0, 0, 1, 0, 0]);
        let rows = redress.text("SELECT string_agg(customer_id || ',' || id, E'\\n') FROM transfer WHERE code = 2");
        let file = redress.file("by-hand.csv", format!("customer,credit\n{rows}\n"));
        redress.run(&["credit", "deliver", &file, "--as", "finance"]).succeeds();
        due(redress);
        assert_eq!(pass(redress), [1, 0, 0, 0, 0, 0]);
        assert_eq!((states(redress).as_str(), peer.calls().len()), ("done", 1), "nothing is left to be told");
    });
}
