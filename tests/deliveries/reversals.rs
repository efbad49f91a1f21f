//! Credits that are taken back: never behind the back of a service that may have granted them, and never delivered after.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{balance, deliver, delivered, due, pass, register, states, with_peer};
use crate::harness::{Ran, Random, Redress};
use crate::peer::{Mood, Peer};

fn credit(redress: &Redress, customer: u32) -> String {
    redress.text(&format!("SELECT id FROM transfer WHERE code = 2 AND customer_id = 's-{customer:05}'"))
}

fn reverse(redress: &Redress, customer: u32, id: &str) -> Ran {
    let customer = format!("s-{customer:05}");
    redress.run(&["credit", "reverse", id, "--customer", &customer, "--reason", "credited-in-error", "--as", "finance"])
}

#[test]
fn what_was_reversed_before_it_was_sent_is_not_delivered() {
    Redress::test(|redress| {
        let (peer, _) = with_peer(redress, 4);
        reverse(redress, 1, &credit(redress, 1)).succeeds();
        // Cut, but nobody listens: the service cannot have heard of it, so it can be reversed still.
        let mut nobody = Peer::start();
        nobody.url = "http://127.0.0.1:1/hook".into();
        let id = redress.text("SELECT id FROM webhook");
        redress.run(&["webhook", "remove", &id, "--as", "root"]).succeeds();
        register(redress, "melon", &nobody);
        assert_eq!(pass(redress), [0, 0, 0, 0, 1, 0]);
        assert_eq!(redress.number("SELECT count(*) FROM delivery WHERE as_of IS NOT NULL"), 0);
        reverse(redress, 2, &credit(redress, 2)).succeeds();
        let id = redress.text("SELECT id FROM webhook WHERE disabled_at IS NULL");
        redress.run(&["webhook", "remove", &id, "--as", "root"]).succeeds();
        register(redress, "melon", &peer);
        due(redress);
        assert_eq!(pass(redress), [1, 2, 0, 0, 0, 0]);
        let granted: Vec<String> = peer.granted().into_keys().map(|(customer, _)| customer).collect();
        assert_eq!(granted, ["s-00000", "s-00003"]);
        assert_eq!(balance(redress, "owed/day:melon"), "0");
    });
}

#[test]
fn a_batch_whose_credits_were_all_reversed_is_never_sent() {
    Redress::test(|redress| {
        let (peer, _) = with_peer(redress, 2);
        for customer in 0..2 {
            reverse(redress, customer, &credit(redress, customer)).succeeds();
        }
        assert_eq!(pass(redress), [1, 0, 0, 0, 0, 0]);
        assert_eq!((peer.calls().len(), states(redress).as_str()), (0, "done"));
    });
}

#[test]
fn what_a_service_may_have_granted_is_not_taken_back_until_it_has_answered() {
    Redress::test(|redress| {
        let (peer, _) = with_peer(redress, 3);
        peer.set(Mood::HangUpBefore);
        assert_eq!(pass(redress), [0, 0, 0, 0, 1, 0]);
        let id = credit(redress, 0);
        let in_delivery = |ran: Ran| ran.fails(1, "credit_in_delivery");
        in_delivery(reverse(redress, 0, &id));
        in_delivery(redress.run(&["credit", "write-off", &id, "--reason", "account-closed", "--as", "finance"]));
        let file = redress.file("expired.csv", format!("customer,credit\ns-00000,{id}\n"));
        let expired = redress.run(&["credit", "expire", &file, "--as", "finance"]);
        assert!(expired.code == Some(1) && expired.stdout.contains("credit_in_delivery"), "{}", expired.stdout);
        // Nor when it is given up: nobody knows.
        redress.sql("UPDATE delivery SET attempts = 29");
        due(redress);
        assert_eq!(pass(redress), [0, 0, 0, 0, 0, 1]);
        in_delivery(reverse(redress, 0, &id));
        // A person asks the service, and says what it said: this one was not granted.
        let server = redress.serve();
        let finance = redress.client(&server, "finance", "finance");
        let said = serde_json::json!({ "results": [
            { "customer": "s-00000", "credit": id, "status": "refused", "reason": "never-arrived" }] });
        assert_eq!(finance.post_once("/v1/deliveries/acknowledgements", &said).json()["refused"], 1);
        drop(server);
        reverse(redress, 0, &id).succeeds();
        in_delivery(reverse(redress, 1, &credit(redress, 1)));
        // Sent again it says the same as before; what was refused and reversed meanwhile is not granted in the books.
        peer.set(Mood::Grant);
        redress.json(&["deliver", "--retry", "--as", "finance"]);
        assert_eq!(pass(redress), [1, 2, 0, 0, 0, 0]);
        assert!(peer.calls()[0].body == peer.calls().last().unwrap().body);
        assert_eq!((delivered(redress), balance(redress, "owed/day:melon")), ((2, 0), "0".into()));
        // What was granted is reversed in its order: the delivery first.
        reverse(redress, 1, &credit(redress, 1)).fails(1, "credit_nothing_owed");
    });
}

#[test]
fn whoever_wins_the_race_no_credit_is_both_granted_and_reversed() {
    const CUSTOMERS: u32 = 60;
    Redress::test(|redress| {
        let mut random = Random::new("whoever_wins_the_race_no_credit_is_both_granted_and_reversed");
        let (peer, _) = with_peer(redress, CUSTOMERS);
        // Batches of a few credits, each sent at its own time while others are being reversed.
        deliver_in_parts(redress);
        let credits: Vec<String> = (0..CUSTOMERS).map(|customer| credit(redress, customer)).collect();
        let mut order: Vec<u32> = (0..CUSTOMERS).collect();
        for place in (1..order.len()).rev() {
            order.swap(place, usize::try_from(random.below(place as u64 + 1)).unwrap());
        }
        let ended = AtomicBool::new(false);
        let reversed: BTreeSet<u32> = std::thread::scope(|scope| {
            let sender = scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    deliver(redress).succeeds();
                    redress.sql(
                        "UPDATE delivery SET next_at = now() WHERE id IN
                         (SELECT id FROM delivery WHERE state = 'queued' ORDER BY random() LIMIT 2)",
                    );
                }
            });
            let mut reversed = BTreeSet::new();
            for customer in &order[..40] {
                let ran = reverse(redress, *customer, &credits[*customer as usize]);
                if ran.code == Some(0) {
                    reversed.insert(*customer);
                } else {
                    let raced = ran.stderr.contains("credit_in_delivery") || ran.stderr.contains("credit_nothing_owed");
                    assert!(raced, "{}", ran.stderr);
                }
            }
            ended.store(true, Ordering::Relaxed);
            sender.join().unwrap();
            reversed
        });
        due(redress);
        deliver(redress).succeeds();
        let granted: BTreeSet<u32> = peer
            .granted()
            .into_keys()
            .map(|(customer, _)| customer.trim_start_matches("s-").parse().unwrap())
            .collect();
        println!("{} reversed, {} granted", reversed.len(), granted.len());
        assert!(granted.is_disjoint(&reversed));
        assert_eq!(granted.len() + reversed.len(), CUSTOMERS as usize, "nothing is lost between them");
        assert!(peer.granted().values().all(|times| *times == 1));
        assert_eq!(balance(redress, "owed/day:melon"), "0");
    });
}

/// Cuts the one batch of a test into twenty of three, as if each were a posting's part, all to be sent later.
fn deliver_in_parts(redress: &Redress) {
    redress.sql("UPDATE webhook SET retry_at = now() + interval '1 day'");
    deliver(redress).succeeds();
    redress.sql(
        "CREATE TEMP TABLE whole AS SELECT * FROM delivery;
         DELETE FROM delivery;
         INSERT INTO delivery (id, service_id, posting_id, first_customer, first_credit, last_customer, last_credit,
                               credits, state, next_at, queued_at)
         SELECT gen_random_uuid(), d.service_id, d.posting_id,
                (array_agg(t.customer_id ORDER BY t.customer_id))[1], (array_agg(t.id ORDER BY t.customer_id))[1],
                (array_agg(t.customer_id ORDER BY t.customer_id DESC))[1], (array_agg(t.id ORDER BY t.customer_id DESC))[1],
                count(*), 'queued', now() + interval '1 day', now()
         FROM whole AS d, (SELECT *, (row_number() OVER (ORDER BY customer_id) - 1) / 3 AS part
                              FROM transfer WHERE code = 2) AS t
         GROUP BY d.service_id, d.posting_id, part;
         UPDATE webhook SET retry_at = NULL",
    );
}
