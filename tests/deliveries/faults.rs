//! Services that fail, and workers that are killed around the call.

use std::os::unix::process::ExitStatusExt;

use diesel::connection::SimpleConnection;
use redress_store::failpoint::{CRASH_AT, CallPoint, WITHOUT};

use super::{balance, deliver, delivered, due, each, ids, pass, register, states, with_peer};
use crate::harness::{Redress, wait_until};
use crate::peer::{Mood, Peer};

#[test]
fn what_a_service_does_not_answer_goes_again_as_the_same_call() {
    Redress::test(|redress| {
        let (peer, secret) = with_peer(redress, 1_500);
        let html = "<html>please sign in</html>";
        let wrong = "{\"results\": [{\"credit\": \"00000000-0000-0000-0000-000000000000\"}]}";
        for (mood, why) in [
            (Mood::Say(500, "text/plain", "oops"), "it answered 500"),
            (Mood::Say(401, "text/plain", ""), "does it know the secret?"),
            (Mood::Say(307, "text/plain", ""), "redirects are not followed"),
            (Mood::Say(200, "text/html", html), "without saying what it granted"),
            (Mood::Say(200, "application/json", ""), "without saying what it granted"),
            (Mood::Say(200, "application/json", wrong), "which is no credit of the batch"),
            (Mood::HangUpBefore, ""),
            (Mood::Stall, "did not answer in time"),
            (Mood::HangUpAfter, ""),
        ] {
            peer.set(mood.clone());
            due(redress);
            assert_eq!(pass(redress), [0, 0, 0, 0, 1, 0], "{mood:?}: the service is left alone after one failure");
            let error = redress.text("SELECT string_agg(last_error, ' ') FROM delivery WHERE last_error IS NOT NULL");
            assert!(error.contains(why) && !error.contains("127.0.0.1"), "{mood:?}: {error}");
            assert_eq!(pass(redress), [0; 6], "{mood:?}: nothing is tried again before its time");
        }
        assert_eq!(delivered(redress), (0, 0));
        peer.set(Mood::Grant);
        due(redress);
        assert_eq!(pass(redress), [2, 1_500, 0, 0, 0, 0]);
        let calls = peer.calls();
        assert!(calls.len() == 11 && calls.iter().all(|call| call.is_signed_with(&secret)));
        for call in &calls {
            let first = calls.iter().find(|other| other.id == call.id).unwrap();
            assert!(first.body == call.body, "the same id says something else");
        }
        let mut different = ids(&calls);
        different.sort();
        different.dedup();
        assert_eq!(different.len(), 2);
        assert_eq!(peer.granted(), each(redress, 1));
        assert_eq!(delivered(redress), (1_500, 0));
        assert_eq!(redress.number("SELECT count(*) FROM webhook WHERE failures > 0"), 0);
    });
}

#[test]
fn after_too_many_failures_a_person_sees_it_and_sends_it_again() {
    Redress::test(|redress| {
        let (peer, _) = with_peer(redress, 2_500);
        peer.set(Mood::Say(503, "text/plain", ""));
        assert_eq!(pass(redress), [0, 0, 0, 0, 1, 0]);
        // One delivery was tried too often: it is dead, the others go on.
        redress.sql("UPDATE delivery SET attempts = 29 WHERE attempts > 0");
        redress.sql(
            "UPDATE delivery SET next_at = now() WHERE attempts > 0; UPDATE webhook SET retry_at = NULL;
                     UPDATE delivery SET next_at = now() + interval '1 hour' WHERE attempts = 0",
        );
        assert_eq!(pass(redress), [0, 0, 0, 0, 0, 1]);
        assert_eq!(states(redress), "dead queued queued");
        let doctor = redress.run(&["doctor"]).fails(1, "").stdout;
        assert!(doctor.contains("1 did not go") && doctor.contains("calls to melon fail since"), "{doctor}");
        // The service failed too often: whatever waits for it is dead.
        redress.sql("UPDATE webhook SET failures = 29");
        due(redress);
        assert_eq!(pass(redress), [0, 0, 0, 0, 0, 2]);
        assert_eq!(states(redress), "dead dead dead");
        let server = redress.serve();
        assert!(server.get("/metrics", &[]).text().contains("redress_deliveries{state=\"dead\"} 3"));
        let finance = redress.client(&server, "finance", "finance");
        let list = finance.get("/v1/deliveries?state=dead&limit=2").json();
        let next = list["next"].as_str().unwrap();
        let rest = finance.get(&format!("/v1/deliveries?state=dead&limit=2&cursor={next}")).json();
        assert_eq!(
            (list["deliveries"].as_array().unwrap().len(), rest["deliveries"].as_array().unwrap().len()),
            (2, 1)
        );
        finance.get("/v1/deliveries?state=lost").is_problem(422, "invalid_request");
        drop(server);
        assert!(redress.run(&["deliver", "--list"]).succeeds().stdout.contains("it answered 503"));
        redress.run(&["deliver", "--retry"]).fails(2, "--as");
        redress.run(&["deliver", "--retry", "--as", "author"]).refuses("may not do this");
        assert_eq!(redress.json(&["deliver", "--retry", "--as", "finance"])["retried"], 3);
        peer.set(Mood::Grant);
        assert_eq!(pass(redress), [3, 2_500, 0, 0, 0, 0]);
        assert_eq!(peer.granted(), each(redress, 1));
    });
}

#[test]
fn a_service_that_is_gone_is_called_no_more_and_another_address_takes_over() {
    Redress::test(|redress| {
        let (peer, _) = with_peer(redress, 1_500);
        peer.set(Mood::Say(410, "text/plain", ""));
        assert_eq!(pass(redress), [0, 0, 0, 0, 0, 2]);
        assert!(redress.run(&["webhook", "list", "--all"]).succeeds().stdout.contains("off: it answered 410"));
        redress.json(&["deliver", "--retry", "--as", "finance"]);
        assert_eq!(pass(redress), [0; 6]);
        assert_eq!((peer.calls().len(), states(redress).as_str()), (1, "queued queued"));
        let other = Peer::start();
        register(redress, "melon", &other);
        assert_eq!(pass(redress), [2, 1_500, 0, 0, 0, 0]);
        assert_eq!(other.granted(), each(redress, 1));
    });
}

#[test]
fn a_service_that_does_not_answer_holds_up_no_other() {
    Redress::test(|redress| {
        let (stalled, _) = with_peer(redress, 3);
        redress.with_policies(&["webtoon"]).with_budget("webtoon", "day:webtoon", "1000");
        redress.with_budget("webtoon", "cash:webtoon", "10000");
        let rows = "customer,service,reference,kind,channel\nw-1,webtoon,sub,subscription,web\n";
        let roster = redress.file("webtoon.csv", rows);
        redress.run(&["roster", "import", &roster, "--incident", crate::harness::INCIDENT]).succeeds();
        redress.issue();
        let issued = redress.number("SELECT count(*) FROM transfer WHERE code = 2 AND customer_id = 'w-1'");
        assert!(issued > 0);
        let other = Peer::start();
        register(redress, "webtoon", &other);
        stalled.set(Mood::Stall);
        assert_eq!(pass(redress), [1, issued.unsigned_abs(), 0, 0, 1, 0]);
        assert_eq!((stalled.calls().len(), other.calls().len()), (1, 1));
        // The lease of a worker that died ends by itself.
        due(redress);
        stalled.set(Mood::Grant);
        pass(redress);
    });
}

#[test]
fn killed_around_a_call_no_credit_is_lost_and_none_is_granted_twice() {
    Redress::test(|redress| {
        super::issued(redress, 1_200);
        for point in CallPoint::ALL {
            for time in [1, 2] {
                let copy = redress.copy();
                let peer = Peer::start();
                register(&copy, "melon", &peer);
                let case = format!("{}:{time}", point.as_str());
                let died = copy.command(&["deliver"]).env(CRASH_AT, &case).output().unwrap();
                assert_eq!(died.status.signal(), Some(9), "{case}: {:?}", died.status);
                let recorded = delivered(&copy).0;
                copy.run(&["verify"]).succeeds();
                let before = ids(&peer.calls());
                due(&copy);
                deliver(&copy).succeeds();
                assert_eq!(peer.granted(), each(&copy, 1), "{case}");
                assert_eq!(delivered(&copy), (1_200, 0), "{case}");
                assert_eq!(states(&copy), "done done", "{case}");
                let again = ids(&peer.calls()).iter().skip(before.len()).filter(|id| before.contains(id)).count();
                let called = matches!(point, CallPoint::Answered | CallPoint::Recording);
                assert_eq!(again, usize::from(called), "{case}: what was called and not recorded goes again");
                println!("{case}: {recorded} recorded when it died, {again} called again");
                copy.assert_settled();
            }
        }
    });
}

#[test]
fn it_is_the_id_of_the_call_that_keeps_a_service_from_granting_twice() {
    // The control: with another id for each attempt the same death doubles at the service.
    Redress::test(|redress| {
        super::issued(redress, 500);
        for (without, times) in [("", 1), ("call-id", 2)] {
            let copy = redress.copy();
            let peer = Peer::start();
            register(&copy, "melon", &peer);
            let mut died = copy.command(&["deliver"]);
            let died = died.env(CRASH_AT, CallPoint::Answered.as_str()).env(WITHOUT, without).output().unwrap();
            assert_eq!(died.status.signal(), Some(9));
            due(&copy);
            let mut again = copy.command(&["deliver"]);
            assert!(again.env(WITHOUT, without).output().unwrap().status.success());
            assert_eq!(peer.granted(), each(&copy, times), "{without:?}");
            assert_eq!(delivered(&copy), (500, 0), "the books have it once in any case");
        }
    });
}

#[test]
fn whoever_holds_a_batch_does_not_hold_up_the_balances() {
    Redress::test(|redress| {
        let (peer, _) = with_peer(redress, 3);
        let silence = peer.hold();
        std::thread::scope(|scope| {
            // Inside, so that it ends with whatever fails here.
            let mut other = redress.owner();
            let delivery = scope.spawn(|| redress.run(&["deliver"]).succeeds());
            wait_until("it was told", || redress.number("SELECT count(*) FROM delivery WHERE attempts = 1") == 1);
            // As whoever reverses one of its credits does.
            other.batch_execute("BEGIN; SELECT * FROM delivery FOR SHARE").unwrap();
            drop(silence);
            wait_until("the answer waits to be recorded", || redress.waiting_for_locks() == 1);
            let balance = scope.spawn(|| balance(redress, "owed/day:melon"));
            wait_until("the balance is told", || balance.is_finished());
            assert_eq!(balance.join().unwrap(), "9");
            other.batch_execute("ROLLBACK").unwrap();
            delivery.join().unwrap();
        });
        assert_eq!(delivered(redress), (3, 0));
    });
}
