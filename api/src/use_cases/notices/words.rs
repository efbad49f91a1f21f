//! What a notice says, in the claimant's language: short, with the reference, without a link.

use redress_domain::claim::ClaimState;
use redress_domain::notice::Event;

use crate::use_cases::claims::Language;

/// What is known when a notice is written.
pub struct About<'a> {
    /// The event.
    pub event: Event,
    /// The claim's reference.
    pub reference: &'a str,
    /// Whether it is an enquiry, which claims nothing.
    pub is_enquiry: bool,
    /// How to address the claimant.
    pub name: Option<&'a str>,
    /// The outcome in a sentence, where there is one.
    pub sentence: Option<&'a str>,
    /// The documents that are wanted, by title.
    pub documents: &'a [String],
    /// Where the claim stands now.
    pub state: ClaimState,
}

/// A notice in words.
pub struct Words {
    /// The subject line.
    pub subject: String,
    /// The paragraphs, greeting first.
    pub paragraphs: Vec<String>,
    /// How to check that it is ours.
    pub genuine: String,
}

/// Writes a notice.
pub fn write(about: &About<'_>, language: Language) -> Words {
    let (subject, opening) = match language {
        _ if about.is_enquiry && about.event == Event::Received => enquiry(about.reference, language),
        Language::Ko => korean(about.event, about.reference),
        Language::En => english(about.event, about.reference),
    };
    let mut paragraphs = vec![greeting(about.name, language), opening];
    if tells_outcome(about.event) {
        paragraphs.extend(about.sentence.map(str::to_owned));
    }
    paragraphs.extend(documents(about, language));
    paragraphs.extend(next_step(about, language));
    Words { subject, paragraphs, genuine: genuine(about.reference, language) }
}

/// Writes the mail of a code.
pub fn code(code: &str, language: Language) -> Words {
    match language {
        Language::Ko => Words {
            subject: "확인 코드 안내".to_owned(),
            paragraphs: vec![
                "안녕하세요.".to_owned(),
                format!("접수 내역을 보기 위한 확인 코드는 {code}입니다. 10분 동안 한 번만 사용할 수 있습니다."),
                "요청하신 적이 없다면 이 메일을 무시해 주세요. 코드를 알려 달라고 하는 사람에게 알려 주지 마세요. 저희는 코드를 묻지 않습니다."
                    .to_owned(),
            ],
            genuine: "이 메일에는 링크가 없습니다. 코드는 직접 접수 내역 화면을 열어 입력해 주세요.".to_owned(),
        },
        Language::En => Words {
            subject: "Your code".to_owned(),
            paragraphs: vec![
                "Hello,".to_owned(),
                format!("The code to see your reports is {code}. It is good for ten minutes, once."),
                "If you did not ask for it, leave this message alone. Do not give the code to anybody who asks for it: \
                 we never do."
                    .to_owned(),
            ],
            genuine: "This message has no link. Open the page of your reports yourself and enter the code there."
                .to_owned(),
        },
    }
}

fn greeting(name: Option<&str>, language: Language) -> String {
    match (language, name) {
        (Language::Ko, Some(name)) => format!("{name} 님, 안녕하세요."),
        (Language::Ko, None) => "안녕하세요.".to_owned(),
        (Language::En, Some(name)) => format!("Dear {name},"),
        (Language::En, None) => "Hello,".to_owned(),
    }
}

/// What is said of an outcome must still be so when the notice goes: other events do not speak of it.
fn tells_outcome(event: Event) -> bool {
    matches!(event, Event::Received | Event::Decided | Event::AppealDecided | Event::Credited)
}

/// What an enquiry is answered with begins with this.
fn enquiry(reference: &str, language: Language) -> (String, String) {
    let (subject, opening) = match language {
        Language::Ko => ("문의에 답변드립니다", format!("문의를 받았습니다. 접수번호는 {reference}입니다.")),
        Language::En => {
            ("The answer to your enquiry", format!("We have received your enquiry. Its reference is {reference}."))
        }
    };
    (format!("[{reference}] {subject}"), opening)
}

fn korean(event: Event, reference: &str) -> (String, String) {
    let (subject, opening) = match event {
        Event::Received => {
            ("피해 접수가 완료되었습니다", format!("피해 접수를 받았습니다. 접수번호는 {reference}입니다."))
        }
        Event::InformationWanted => (
            "추가 확인이 필요합니다",
            format!(
                "접수번호 {reference}를 심사하려면 추가 정보가 필요합니다. 접수 내역에서 요청 내용을 확인하고 답해 주세요."
            ),
        ),
        Event::Reminder => (
            "답변을 기다리고 있습니다",
            format!(
                "접수번호 {reference}에 대해 요청드린 정보를 아직 받지 못했습니다. 기한이 지나기 전에 접수 내역에서 답해 주세요."
            ),
        ),
        Event::Message => (
            "담당자의 메시지가 있습니다",
            format!("접수번호 {reference}에 담당자의 새 메시지가 있습니다. 접수 내역에서 확인해 주세요."),
        ),
        Event::Decided => ("심사 결과 안내", format!("접수번호 {reference}에 대한 결과입니다.")),
        Event::Appealed => (
            "이의 신청이 접수되었습니다",
            format!(
                "접수번호 {reference}에 대한 이의 신청을 받았습니다. 처음 심사하지 않은 다른 담당자가 다시 검토합니다."
            ),
        ),
        Event::AppealDecided => ("이의 신청 결과 안내", format!("접수번호 {reference}의 이의 신청에 대한 결과입니다.")),
        Event::Credited => ("보상이 지급되었습니다", format!("접수번호 {reference}의 보상이 지급되었습니다.")),
        Event::Withdrawn => (
            "접수가 취소되었습니다",
            format!(
                "요청하신 대로 접수번호 {reference}의 접수를 취소했습니다. 취소하신 적이 없다면 고객센터에 알려 주세요."
            ),
        ),
    };
    (format!("[{reference}] {subject}"), opening)
}

fn english(event: Event, reference: &str) -> (String, String) {
    let (subject, opening) = match event {
        Event::Received => (
            "We have your damage report",
            format!("We have received your damage report. Its reference is {reference}."),
        ),
        Event::InformationWanted => (
            "We need something from you",
            format!(
                "To decide on {reference} we need more from you. See on the page of your report what is asked, and answer \
                 there."
            ),
        ),
        Event::Reminder => (
            "We are waiting for your answer",
            format!(
                "We asked you something about {reference} and have no answer yet. Please answer on the page of your report \
                 before the time is over."
            ),
        ),
        Event::Message => (
            "A message about your report",
            format!("We wrote to you about {reference}. You can read it on the page of your report."),
        ),
        Event::Decided => ("A decision on your report", format!("This is the decision on {reference}.")),
        Event::Appealed => (
            "We have your appeal",
            format!(
                "We have received your appeal about {reference}. Somebody who did not decide on it before will read it."
            ),
        ),
        Event::AppealDecided => {
            ("A decision on your appeal", format!("This is the decision on your appeal about {reference}."))
        }
        Event::Credited => {
            ("Your compensation was credited", format!("The compensation for {reference} was credited."))
        }
        Event::Withdrawn => (
            "Your report was withdrawn",
            format!("As you asked, we withdrew {reference}. If you did not ask for this, please tell our support."),
        ),
    };
    (format!("[{reference}] {subject}"), opening)
}

fn documents(about: &About<'_>, language: Language) -> Option<String> {
    if about.documents.is_empty() || !matches!(about.event, Event::InformationWanted | Event::Reminder) {
        return None;
    }
    let listed = about.documents.join(", ");
    Some(match language {
        Language::Ko => format!("필요한 서류: {listed}"),
        Language::En => format!("What we need: {listed}"),
    })
}

fn next_step(about: &About<'_>, language: Language) -> Option<String> {
    let reference = about.reference;
    if about.event != Event::Decided || about.state != ClaimState::Declined {
        return None;
    }
    Some(match language {
        Language::Ko => {
            format!(
                "결과에 동의하지 않으시면 접수번호 {reference}로 이의를 제기하실 수 있으며, 다른 담당자가 다시 검토합니다."
            )
        }
        Language::En => {
            format!("If you disagree, you can appeal under the reference {reference}; somebody else will read it.")
        }
    })
}

fn genuine(reference: &str, language: Language) -> String {
    match language {
        Language::Ko => format!(
            "이 메일에는 로그인이나 결제 정보를 묻는 링크가 없습니다. 진짜 안내인지 확인하려면 고객센터에 접수번호 {reference}를 말씀해 주세요."
        ),
        Language::En => format!(
            "This message has no link that asks for a password or a payment. To check that it is ours, give our support the \
             reference {reference}."
        ),
    }
}
