//! Sending mail: over SMTP when it is configured, else into a folder of `.eml` files that a development page shows.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use lettre::message::header::ContentType;
use lettre::message::{Mailbox, MultiPart, SinglePart};
use lettre::transport::file::FileTransport;
use lettre::transport::smtp::SmtpTransport;
use lettre::transport::smtp::client::{Certificate, Tls, TlsParameters};
use lettre::{Message, Transport};
use url::{Host, Url};

use crate::error::{AppError, AppResult};
use crate::settings::Settings;

/// The folder of `.eml` files within the data folder.
pub const FOLDER: &str = "mail";

/// A way to send mail.
pub enum Mailer {
    /// To a mail server.
    Smtp(Box<SmtpTransport>),
    /// Into a folder.
    Folder(PathBuf, FileTransport),
}

/// Why a mail did not go.
#[derive(Debug, thiserror::Error)]
pub enum MailError {
    /// The mail server does not answer: whatever comes next would wait in vain as well.
    #[error("{0}")]
    Silent(String),
    /// Trying again may help.
    #[error("{0}")]
    Transient(String),
    /// Trying again does not help.
    #[error("{0}")]
    Permanent(String),
}

impl Mailer {
    /// The mailer of the settings; a folder of mail is refused in production.
    pub fn new(settings: &Settings) -> AppResult<Self> {
        if let Some(url) = &settings.smtp_url {
            return Ok(Self::Smtp(Box::new(smtp(settings, url)?)));
        }
        if settings.production {
            return Err(AppError::Refused(
                "in production mail must go somewhere: set REDRESS_SMTP_URL, such as smtps://user:password@host".into(),
            ));
        }
        let folder = folder(settings);
        std::fs::create_dir_all(&folder).map_err(AppError::io(format!("creating {}", folder.display())))?;
        let transport = FileTransport::new(&folder);
        Ok(Self::Folder(folder, transport))
    }

    /// Where mail goes, in words.
    #[must_use]
    pub fn describe(&self) -> String {
        match self {
            Self::Smtp(_) => "an SMTP server".to_owned(),
            Self::Folder(folder, _) => folder.display().to_string(),
        }
    }

    /// Sends one message.
    pub fn send(&self, message: &Message) -> Result<(), MailError> {
        match self {
            Self::Smtp(transport) => transport.send(message).map(drop).map_err(|error| {
                let text = one_line(&error);
                match (error.is_permanent(), error.is_transient()) {
                    (true, _) => MailError::Permanent(text),
                    (_, true) => MailError::Transient(text),
                    _ => MailError::Silent(text),
                }
            }),
            Self::Folder(_, transport) => {
                transport.send(message).map(drop).map_err(|error| MailError::Transient(one_line(&error)))
            }
        }
    }
}

/// The folder that mail goes into without an SMTP server.
#[must_use]
pub fn folder(settings: &Settings) -> PathBuf {
    settings.data_dir.join(FOLDER)
}

/// The Message-ID of a letter, without brackets: the host of the sender's address makes it unique in the world, and the
/// letter's own id makes it stay the same.
#[must_use]
pub fn message_id(id: uuid::Uuid, from: &str) -> String {
    let host = from.rsplit('@').next().unwrap_or("localhost").trim_end_matches('>');
    format!("{id}@{host}")
}

/// A message in both forms.
pub struct Letter<'a> {
    /// From whom.
    pub from: &'a str,
    /// To whom.
    pub to: &'a str,
    /// The id that stays the same on a retry, without brackets.
    pub message_id: String,
    /// The subject.
    pub subject: String,
    /// The plain text.
    pub text: String,
    /// The same as HTML.
    pub html: String,
}

impl Letter<'_> {
    /// The message as it is sent.
    pub fn build(self) -> Result<Message, MailError> {
        let mailbox = |text: &str| {
            text.parse::<Mailbox>().map_err(|error| MailError::Permanent(format!("an address cannot be used: {error}")))
        };
        Message::builder()
            .from(mailbox(self.from)?)
            .to(mailbox(self.to)?)
            .message_id(Some(format!("<{}>", self.message_id)))
            .subject(self.subject)
            .multipart(
                MultiPart::alternative()
                    .singlepart(SinglePart::builder().header(ContentType::TEXT_PLAIN).body(self.text))
                    .singlepart(SinglePart::builder().header(ContentType::TEXT_HTML).body(self.html)),
            )
            .map_err(|error| MailError::Permanent(error.to_string()))
    }
}

/// The transport to a mail server, as its URL says: `smtps` is TLS from the first byte, `tls=required` STARTTLS or nothing.
fn smtp(settings: &Settings, address: &str) -> AppResult<SmtpTransport> {
    fn wrong(error: impl std::fmt::Display) -> AppError {
        AppError::Usage(format!("REDRESS_SMTP_URL: {error}"))
    }
    let url = Url::parse(address).map_err(wrong)?;
    if settings.production && is_in_clear(&url) {
        return Err(AppError::Refused(
            "in production mail goes over TLS: REDRESS_SMTP_URL smtps://user:password@host, or \
             smtp://user:password@host:587?tls=required for STARTTLS"
                .into(),
        ));
    }
    let builder = SmtpTransport::from_url(address).map_err(wrong)?.timeout(Some(settings.smtp_timeout));
    // The URL's own parameters trust the machine's authorities only.
    let parameters = || {
        let mut tls = TlsParameters::builder(url.host_str().unwrap_or_default().to_owned());
        for certificate in settings.trust.certificates() {
            tls = tls.add_root_certificate(Certificate::from_der(certificate.to_vec()).map_err(wrong)?);
        }
        tls.build().map_err(wrong)
    };
    let builder = match (url.scheme(), tls_of(&url).as_deref()) {
        ("smtps", _) => builder.tls(Tls::Wrapper(parameters()?)),
        (_, Some("required")) => builder.tls(Tls::Required(parameters()?)),
        (_, Some("opportunistic")) => builder.tls(Tls::Opportunistic(parameters()?)),
        _ => builder,
    };
    Ok(builder.build())
}

/// What a mail server's URL asks of STARTTLS.
fn tls_of(url: &Url) -> Option<String> {
    url.query_pairs().find(|(name, _)| name == "tls").map(|(_, value)| value.into_owned())
}

/// Whether mail would go to another machine in the clear, or in the clear where TLS is not offered.
fn is_in_clear(url: &Url) -> bool {
    let local = match url.host() {
        // In a scheme that is not the web's, an address of numbers is read as a name.
        Some(Host::Domain(name)) => name == "localhost" || name.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback()),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    url.scheme() == "smtp" && !local && tls_of(url).as_deref() != Some("required")
}

fn one_line(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    without_addresses(&text)
}

/// What a mail server said, in one line: it quotes the address it refuses, which belongs neither in the log nor open in the
/// database.
#[must_use]
pub fn without_addresses(text: &str) -> String {
    let words = text.split_whitespace().map(|word| if word.contains('@') { "<address>" } else { word });
    words.collect::<Vec<_>>().join(" ").chars().take(500).collect()
}

/// The newest mails of the folder, raw, at most `limit`.
pub fn newest(folder: &Path, limit: usize) -> AppResult<Vec<Vec<u8>>> {
    let reading = || format!("reading {}", folder.display());
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(AppError::io(reading())(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(AppError::io(reading()))?.path();
        if path.extension().is_some_and(|extension| extension == "eml") {
            let modified = std::fs::metadata(&path).and_then(|m| m.modified()).map_err(AppError::io(reading()))?;
            files.push((modified, path));
        }
    }
    files.sort_by(|a, b| b.cmp(a));
    files.truncate(limit);
    files.into_iter().map(|(_, path)| std::fs::read(&path).map_err(AppError::io(reading()))).collect()
}
