//! The reasons every policy can give, worded for claimants in both languages.

use super::diagnostic::Span;
use super::rules::Reason;
use crate::incident::Localised;

/// Code, Korean, English.
const BUILTIN: [(&str, &str, &str); 18] = [
    ("no-loss-shown", "손실이 확인되지 않았습니다.", "No loss was shown."),
    ("not-affected", "장애 시간 동안 이용에 영향이 없었습니다.", "Your use was not affected by the outage."),
    ("not-eligible", "보상 대상에 해당하지 않습니다.", "You are not among those this remedy is for."),
    ("not-covered", "이 상품은 보상 대상이 아닙니다.", "This product is not covered by the remedy."),
    ("filed-late", "접수 기한이 지난 뒤에 접수되었습니다.", "The claim was filed after the last day."),
    ("filed-early", "접수 기간이 시작되기 전에 접수되었습니다.", "The claim was filed before claims were taken."),
    ("already-compensated", "같은 피해에 대해 이미 보상되었습니다.", "This has already been compensated."),
    ("below-threshold", "보상 기준에 미치지 않습니다.", "It is below the threshold of the remedy."),
    ("nothing-due", "계산 결과 지급할 금액이 없습니다.", "By the calculation, nothing is due."),
    ("maintenance-announced", "사전에 공지된 점검이었습니다.", "It was maintenance announced in advance."),
    ("own-fault", "이용자 측 사유로 발생한 일입니다.", "The cause was on the claimant's own side."),
    ("force-majeure", "불가항력으로 발생한 일입니다.", "The cause was beyond the operator's control."),
    ("duplicate", "같은 내용의 접수가 이미 있습니다.", "The same has already been claimed."),
    ("exhausted", "선착순 수량이 모두 지급되었습니다.", "The limited number has been given out."),
    ("proof-insufficient", "제출하신 자료로는 손실을 확인할 수 없었습니다.", "What was sent does not show the loss."),
    ("implausible", "신청 내용이 이용 기록과 맞지 않습니다.", "What is claimed does not fit the records."),
    ("loss-partly-shown", "손실의 일부만 확인되었습니다.", "Only a part of the loss was shown."),
    ("cap-reached", "보상 한도에 도달하였습니다.", "The most that this remedy gives has been reached."),
];

/// The reasons that a policy's rules can give.
#[derive(Debug, Default)]
pub(crate) struct ReasonBook {
    pub(crate) reasons: Vec<Reason>,
}

impl ReasonBook {
    pub(crate) fn declare(&mut self, reason: Reason) {
        self.reasons.push(reason);
    }

    pub(crate) fn declared(&self, code: &str) -> Option<u16> {
        self.reasons.iter().position(|reason| &*reason.code == code).and_then(|at| u16::try_from(at).ok())
    }

    /// The place of a reason: declared, built in, or worded plainly from its code.
    pub(crate) fn place(&mut self, code: &str) -> u16 {
        if let Some(at) = self.declared(code) {
            return at;
        }
        let wording = builtin_wording(code).unwrap_or_else(|| Localised {
            ko: format!("보상 기준에 해당하지 않습니다. (사유: {code})"),
            en: format!("The remedy does not apply (reason: {code})."),
        });
        self.declare(Reason { code: code.into(), wording, appealable: true, reference: None, span: Span::default() });
        u16::try_from(self.reasons.len() - 1).unwrap_or(0)
    }
}

/// The wording of a built-in reason.
pub(crate) fn builtin_wording(code: &str) -> Option<Localised> {
    let (_, ko, en) = BUILTIN.iter().find(|(known, _, _)| *known == code)?;
    Some(Localised { ko: (*ko).to_owned(), en: (*en).to_owned() })
}

/// Every built-in reason and its wording.
pub fn builtin() -> impl Iterator<Item = (String, Localised)> {
    BUILTIN.iter().map(|(code, ko, en)| ((*code).to_owned(), Localised { ko: (*ko).to_owned(), en: (*en).to_owned() }))
}

pub(crate) fn builtin_codes() -> impl Iterator<Item = &'static str> + Clone {
    BUILTIN.iter().map(|(code, _, _)| *code)
}
