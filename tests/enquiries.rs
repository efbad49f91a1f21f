//! Two thirds of what came in 2022 claimed nothing. It is answered and closed as it comes, and whoever reads claims never
//! meets it.

use serde_json::{Value, json};

use crate::harness::{INCIDENT, Redress, Server, merchant_claim, wait_until};
use crate::server::Client;

/// Of 400 reports: 67.8 % enquiries and complaints, 17.1 % about paid services, 15.1 % about money lost by free ones.
const ENQUIRIES: usize = 271;
const PAID: usize = 68;
const FREE: usize = 61;
/// How many were not content with the answer.
const AGAIN: usize = 14;

/// The report with this number.
fn report(number: usize) -> Value {
    let customer = format!("m-{number}");
    let mut report = merchant_claim(&customer, "0");
    if number < ENQUIRIES {
        report["service"] = json!(["kakaotalk", "melon", "map"][number % 3]);
        report["kind"] = json!("enquiry");
        report["facts"] = json!({});
        report["description"] = json!("보상은 언제 되나요?");
    } else if number < ENQUIRIES + PAID {
        report["service"] = json!("melon");
        report["facts"] = json!({});
    } else {
        // Half of the merchants lost more than the highest tier: the council reads those.
        let loss = if number.is_multiple_of(2) { 100_000 + number } else { 600_000 + number };
        report["facts"] = json!({ "loss": loss.to_string() });
    }
    report
}

/// All reports, by several clients at once, in an order that mixes them.
fn send_all(server: &Server) -> Vec<Value> {
    let count = ENQUIRIES + PAID + FREE;
    // 181 shares no factor with 400: every number comes once.
    let order: Vec<usize> = (0..count).map(|place| place * 181 % count).collect();
    let mut answers: Vec<(usize, Value)> = std::thread::scope(|scope| {
        let send = |number: &usize| {
            let answer = server.claim(&format!("k-{number}"), &report(*number));
            assert_eq!(answer.status, 201, "{}", answer.text());
            (*number, answer.json())
        };
        let threads: Vec<_> =
            order.chunks(100).map(|part| scope.spawn(move || part.iter().map(send).collect::<Vec<_>>())).collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    answers.sort_by_key(|(number, _)| *number);
    answers.into_iter().map(|(_, answer)| answer).collect()
}

fn next(reader: &Client<'_>, body: &Value) -> Option<Value> {
    let answer = reader.post_once("/v1/claims/next", body);
    assert_eq!(answer.status, 200, "{}", answer.text());
    Some(answer.json()["claim"].clone()).filter(|claim| !claim.is_null())
}

/// The texts of the mails to an address.
fn mail_to(redress: &Redress, address: &str) -> String {
    let mut found = String::new();
    for entry in std::fs::read_dir(redress.folder.path().join("mail")).unwrap() {
        let raw = std::fs::read(entry.unwrap().path()).unwrap();
        let Some(message) = mail_parser::MessageParser::default().parse(&raw) else { continue };
        if message.to().and_then(|to| to.first()).and_then(|to| to.address()) == Some(address) {
            found.push_str(&message.body_text(0).unwrap());
        }
    }
    found
}

#[test]
fn enquiries_in_the_proportions_of_2022_are_answered_and_clog_nothing() {
    Redress::test(|redress| {
        redress.with_incident().with_staff().with_policies(&["kakaotalk-merchant-loss", "melon"]);
        let mut roster = String::from("customer,service,reference,kind,merchant,channel\n");
        for number in 0..ENQUIRIES + PAID + FREE {
            roster.push_str(&format!("m-{number},kakaotalk,account-{number},account,true,\n"));
        }
        // One in two who report about the paid service is on its records.
        for number in (ENQUIRIES..ENQUIRIES + PAID).step_by(2) {
            roster.push_str(&format!("m-{number},melon,sub,subscription,,web\n"));
        }
        let roster = redress.file("r.csv", roster);
        redress.run(&["roster", "import", &roster, "--incident", INCIDENT]).succeeds();
        let server = redress.serve();
        let answers = send_all(&server);
        for answer in &answers[..ENQUIRIES] {
            assert_eq!(
                (answer["status"].as_str(), answer["kind"].as_str()),
                (Some("closed"), Some("enquiry")),
                "{answer}"
            );
            for language in ["ko", "en"] {
                assert!(!answer["reply"][language].as_str().unwrap().is_empty(), "{answer}");
            }
        }
        // What an enquirer reads says how his own service compensates.
        let says = |number: usize, word: &str| {
            let reply = answers[number]["reply"]["en"].as_str().unwrap();
            assert!(reply.contains(word), "{number}: {reply}");
        };
        says(0, "file a damage report");
        says(1, "from its own records, without a claim");
        says(2, "not decided yet");

        // Nothing of it stands on the desk; the readers empty their queues and meet damage reports only.
        let ann = redress.client(&server, "ann", "agent");
        let queues = ann.get("/v1/queues").json();
        let waiting: i64 = queues.as_array().unwrap().iter().map(|queue| queue["waiting"].as_i64().unwrap()).sum();
        let to_read = answers[ENQUIRIES..].iter().filter(|answer| answer["status"] == "in_review").count();
        assert_eq!(usize::try_from(waiting).unwrap(), to_read, "{queues}");
        assert!((40..=80).contains(&to_read), "{to_read}");
        assert_eq!(redress.number("SELECT count(*) FROM task JOIN claim ON id = claim_id AND kind = 'enquiry'"), 0);
        assert_eq!(
            redress.number("SELECT count(*) FROM assessment JOIN claim ON id = claim_id AND kind = 'enquiry'"),
            0
        );

        // A few write again: a person answers those, who asks for them.
        for answer in answers[..ENQUIRIES].iter().step_by(ENQUIRIES / AGAIN).take(AGAIN) {
            let asker = Client { server: &server, token: answer["token"].as_str().unwrap().to_owned() };
            let path = format!("/v1/claims/{}/messages", answer["id"].as_str().unwrap());
            let written = asker.post_once(&path, &json!({ "text": "제 경우는 다릅니다." }));
            assert_eq!(written.json()["status"], "in_review", "{}", written.text());
        }
        let mut read = 0;
        while let Some(claim) = next(&ann, &json!({})) {
            assert_eq!(claim["kind"], "damage", "{claim}");
            read += 1;
        }
        assert_eq!(read, to_read);
        let mut answered = 0;
        while let Some(claim) = next(&ann, &json!({ "queue": "enquiry" })) {
            let path = format!("/v1/claims/{}/answer", claim["id"].as_str().unwrap());
            assert_eq!(ann.post_once(&path, &json!({ "text": "확인했습니다." })).json()["status"], "closed");
            answered += 1;
        }
        assert_eq!(answered, AGAIN);

        // The figures for those outside count them apart: they are neither claims nor payments.
        let sum = |figure: &str| -> i64 {
            let report = redress.json(&["report", "funnel"]);
            let services = report["incidents"][0]["services"].as_array().unwrap().clone();
            services.iter().map(|service| service[figure].as_i64().unwrap()).sum()
        };
        let count = |number: usize| i64::try_from(number).unwrap();
        assert_eq!((sum("enquiries"), sum("enquiries_open")), (count(ENQUIRIES), 0));
        assert_eq!((sum("sent"), sum("credited")), (count(PAID + FREE), 0));
        assert_eq!(sum("decided") + sum("waiting_for_operator"), count(PAID + FREE));
        // Each was told that it came, and how it was answered stands in the mail.
        redress.run(&["notify"]).succeeds();
        // The server's own sender may still hold a few of them.
        let sent = "SELECT count(*) FROM notice WHERE event = 'received' AND state = 'sent'";
        wait_until("every sender is told", || redress.number(sent) == 400);
        let mail = |number: usize| mail_to(redress, &format!("m-{number}@example.com"));
        assert!(
            mail(0).contains("문의를 받았습니다") && mail(0).contains("피해 접수로 신청하실 수 있습니다"),
            "{}",
            mail(0)
        );
        assert!(mail(ENQUIRIES + PAID).contains("피해 접수를 받았습니다"), "{}", mail(ENQUIRIES + PAID));
    });
}
