//! Mail over TLS: to a server whose certificate holds, and to no other.

use super::{MailServer, Mood, Secrecy, due, with_claim};
use crate::harness::{Ran, Redress};
use crate::tls::Authority;

/// One pass of the worker that trusts the authority of this file: sent and postponed.
fn pass(redress: &Redress, url: &str, trusts: Option<&str>) -> (u64, u64) {
    due(redress);
    let args = ["notify", "--format", "json"];
    let mut command = redress.command(&args);
    command.env("REDRESS_SMTP_URL", url);
    command.envs(trusts.map(|file| ("REDRESS_CA_FILE", file)));
    let pass = Ran::of(command.output().unwrap(), &args).succeeds().json();
    (pass["sent"].as_u64().unwrap(), pass["postponed"].as_u64().unwrap())
}

fn last_error(redress: &Redress) -> String {
    redress.text("SELECT coalesce(string_agg(DISTINCT last_error, ' '), '') FROM notice WHERE state = 'queued'")
}

#[test]
fn mail_goes_over_tls_to_a_server_that_a_trusted_authority_vouches_for() {
    Redress::test(|redress| {
        let authority = Authority::new();
        let trusted = redress.file("ca.pem", authority.pem());
        let certificate = authority.vouches_for("127.0.0.1");
        drop(with_claim(redress));
        for (secrecy, more) in
            [(Secrecy::Implicit(certificate.clone()), ""), (Secrecy::OnRequest(certificate), "?tls=required")]
        {
            redress.sql("UPDATE notice SET state = 'queued', sent_at = NULL, attempts = 0");
            let mail = MailServer::with(Mood::Accept, secrecy);
            assert_eq!(
                pass(redress, &format!("{}{more}", mail.url), Some(&trusted)),
                (2, 0),
                "{}",
                last_error(redress)
            );
            assert_eq!(mail.arrived().len(), 2);
            // Nothing but the wish for STARTTLS was ever said in the clear.
            let in_clear = mail.in_clear.lock().unwrap().clone();
            assert!(in_clear.iter().all(|verb| ["EHLO", "STARTTLS"].contains(&verb.as_str())), "{in_clear:?}");
            assert_eq!(in_clear.is_empty(), more.is_empty());
        }
    });
}

#[test]
fn a_mail_server_that_cannot_show_who_it_is_gets_nothing() {
    Redress::test(|redress| {
        let (authority, stranger) = (Authority::new(), Authority::new());
        let trusted = redress.file("ca.pem", authority.pem());
        drop(with_claim(redress));
        for (certificate, trusts, why) in [
            (authority.vouches_for("127.0.0.1"), None, "UnknownIssuer"),
            (stranger.vouches_for("127.0.0.1"), Some(&trusted), "UnknownIssuer"),
            (authority.vouches_for("mail.example"), Some(&trusted), "not valid for name"),
            (authority.vouched_for("127.0.0.1"), Some(&trusted), "expired"),
        ] {
            for (secrecy, more) in [
                (Secrecy::Implicit(certificate.clone()), ""),
                (Secrecy::OnRequest(certificate.clone()), "?tls=required"),
                // Where TLS is offered it must hold, even if it need not be there.
                (Secrecy::OnRequest(certificate.clone()), "?tls=opportunistic"),
            ] {
                let mail = MailServer::with(Mood::Accept, secrecy);
                let trusts = trusts.map(String::as_str);
                assert_eq!(pass(redress, &format!("{}{more}", mail.url), trusts), (0, 2), "{why} {more}");
                assert!(mail.arrived().is_empty(), "{why} {more}");
                assert!(last_error(redress).contains(why), "{why} {more}: {}", last_error(redress));
            }
        }
    });
}

#[test]
fn whoever_takes_starttls_out_of_the_way_gets_nothing() {
    Redress::test(|redress| {
        let authority = Authority::new();
        let trusted = redress.file("ca.pem", authority.pem());
        drop(with_claim(redress));
        // It is not offered; or it is, and what follows is in the clear; or the port speaks TLS and we are told not to.
        for (secrecy, scheme) in [(Secrecy::None, "smtp"), (Secrecy::Pretended, "smtp"), (Secrecy::None, "smtps")] {
            let mail = MailServer::with(Mood::Accept, secrecy);
            let url = format!("{scheme}{}?tls=required", mail.url.strip_prefix("smtp").unwrap());
            assert_eq!(pass(redress, &url, Some(&trusted)), (0, 2));
            assert!(mail.arrived().is_empty());
            let in_clear = mail.in_clear.lock().unwrap().clone();
            assert!(!in_clear.iter().any(|verb| ["AUTH", "MAIL", "RCPT", "DATA"].contains(&verb.as_str())));
        }
    });
}

#[test]
fn a_file_of_authorities_that_has_none_is_refused_at_the_start() {
    Redress::test(|redress| {
        let empty = redress.file("empty.pem", "no certificate\n");
        for file in ["/no/such.pem", &empty] {
            let args = ["staff", "list"];
            let ran = Ran::of(redress.command(&args).env("REDRESS_CA_FILE", file).output().unwrap(), &args);
            ran.is_misused(&format!("REDRESS_CA_FILE {file}"));
        }
    });
}
