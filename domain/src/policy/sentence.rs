//! Says to a claimant, in one paragraph of Korean or English, what was decided and why.

use super::assessment::{AssessedAward, Assessment, Clause, OutcomeKind};
use crate::asset::{AssetClass, AssetCode, grouped};
use crate::incident::Localised;

/// The languages of pages and notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Language {
    /// Korean.
    Korean,
    /// English.
    English,
}

impl Localised {
    /// The text in a language.
    #[must_use]
    pub fn get(&self, language: Language) -> &str {
        match language {
            Language::Korean => &self.ko,
            Language::English => &self.en,
        }
    }
}

impl Assessment {
    /// The decision and why, for the claimant.
    #[must_use]
    pub fn sentence(&self, language: Language) -> String {
        let mut sentences = vec![self.decision(language)];
        sentences.extend(self.because(language));
        sentences.extend(self.caps_said(language));
        sentences.extend(self.next_step(language));
        sentences.extend(self.source(language));
        sentences.join(" ")
    }

    fn policy_name(&self, language: Language) -> String {
        self.title.as_ref().map_or_else(|| self.policy.clone(), |title| title.get(language).to_owned())
    }

    fn decision(&self, language: Language) -> String {
        let name = self.policy_name(language);
        let ko = language == Language::Korean;
        match self.outcome {
            OutcomeKind::Award => {
                let awards: Vec<String> = self.awards.iter().map(|award| amount_in_words(award, language)).collect();
                if ko {
                    format!("「{name}」에 따라 {} 지급됩니다.", with_subject_particle(&awards.join(", ")))
                } else {
                    format!("Under \"{name}\" you receive {}.", awards.join(" and "))
                }
            }
            OutcomeKind::Decline => {
                let wording = self.reason.as_ref().map_or("", |reason| reason.wording.get(language));
                if ko { format!("「{name}」: {wording}") } else { format!("\"{name}\": {wording}") }
            }
            OutcomeKind::Review if ko => format!("「{name}」: 담당자가 직접 검토합니다."),
            OutcomeKind::Review => format!("\"{name}\": a person will decide."),
            OutcomeKind::Pending if ko => format!("「{name}」: 보상 기준이 정해지면 자동으로 심사됩니다."),
            OutcomeKind::Pending => format!("\"{name}\": it will be assessed as soon as the remedy is decided."),
            OutcomeKind::Error if ko => format!("「{name}」: 필요한 정보가 부족하여 아직 심사할 수 없습니다."),
            OutcomeKind::Error => format!("\"{name}\": it cannot be assessed yet, because something is missing."),
        }
    }

    /// The conditions of the rule that decided, as far as they compare something.
    fn because(&self, language: Language) -> Option<String> {
        let rule = self.rules.last().filter(|rule| rule.matched)?;
        if let Some(title) = &rule.title {
            let title = title.get(language);
            return Some(if language == Language::Korean {
                format!("적용 기준: {title}.")
            } else {
                format!("It falls under: {title}.")
            });
        }
        let said: Vec<String> = rule.clauses.iter().filter_map(|clause| clause_in_words(clause, language)).collect();
        if said.is_empty() {
            return None;
        }
        Some(match language {
            Language::Korean => format!("적용 기준: {}.", said.join(", ")),
            Language::English => format!("This is because {}.", said.join(" and ")),
        })
    }

    fn caps_said(&self, language: Language) -> Option<String> {
        let cap = self.caps.first()?;
        Some(match language {
            Language::Korean => {
                format!("한도가 적용되어 {}에서 {}(으)로 조정되었습니다.", grouped(&cap.before), grouped(&cap.after))
            }
            Language::English => {
                format!("A limit changed it from {} to {}.", grouped(&cap.before), grouped(&cap.after))
            }
        })
    }

    fn next_step(&self, language: Language) -> Option<String> {
        let ko = language == Language::Korean;
        if !self.evidence.is_empty() {
            let wanted: Vec<&str> = self
                .evidence
                .iter()
                .map(|document| document.title.as_ref().map_or(document.code.as_str(), |title| title.get(language)))
                .collect();
            let wanted = wanted.join(", ");
            return Some(if ko {
                format!("제출이 필요한 서류: {wanted}.")
            } else {
                format!("Please send: {wanted}.")
            });
        }
        match (&self.reason, &self.problem) {
            (Some(reason), _) if reason.appealable => Some(if ko {
                "이의를 제기하시면 다른 담당자가 다시 심사합니다.".to_owned()
            } else {
                "You can appeal; somebody else will then look at it.".to_owned()
            }),
            (_, Some(problem)) => {
                let fact = problem.fact.as_deref()?;
                Some(if ko { format!("필요한 정보: {fact}.") } else { format!("What is needed: {fact}.") })
            }
            _ => None,
        }
    }

    fn source(&self, language: Language) -> Option<String> {
        let rule = self.rules.last().filter(|rule| rule.matched).and_then(|rule| rule.reference.as_ref());
        let reference = rule.or(self.reference.as_ref())?;
        Some(match language {
            Language::Korean => format!("근거: {reference}."),
            Language::English => format!("Source: {reference}."),
        })
    }
}

/// `30,000원`, `3 days`, `7,550 points` …
fn amount_in_words(award: &AssessedAward, language: Language) -> String {
    let amount = grouped(&award.amount);
    let (ko, one) = (language == Language::Korean, award.amount == "1");
    let Ok(code) = AssetCode::parse(&award.asset) else { return format!("{amount} {}", award.asset) };
    let (prefix, name) = award.asset.split_once(':').unwrap_or((award.asset.as_str(), ""));
    if let Some(title) = &award.title {
        let title = title.get(language);
        return if ko { format!("{title} {amount}") } else { format!("{amount} × {title}") };
    }
    match (code.class(), ko) {
        (AssetClass::Money, true) if prefix == "KRW" => format!("{amount}원"),
        (AssetClass::Money, false) if prefix == "KRW" => format!("{amount} won"),
        (AssetClass::Money, _) => format!("{amount} {prefix}"),
        (AssetClass::Cash, true) => format!("{name} 캐시 {amount}"),
        (AssetClass::Cash, false) => format!("{amount} of {name} cash"),
        (AssetClass::Points, true) => format!("{name} 포인트 {amount}점"),
        (AssetClass::Points, false) => format!("{amount} {name} points"),
        (AssetClass::Time, true) => {
            let unit = match prefix {
                "day" => "일",
                "hour" => "시간",
                _ => "분",
            };
            format!("{name} {amount}{unit}")
        }
        (AssetClass::Time, false) => format!("{amount} {prefix}{} of {name}", if one { "" } else { "s" }),
        (AssetClass::Coupon, true) => format!("쿠폰 {name} {amount}장"),
        (AssetClass::Item, true) => format!("{name} {amount}개"),
        (AssetClass::Coupon | AssetClass::Item, false) => format!("{amount} × {name}"),
    }
}

/// A condition in words; only comparisons that held can be said.
fn clause_in_words(clause: &Clause, language: Language) -> Option<String> {
    let (Some(sign), Some(left), Some(right)) = (&clause.sign, &clause.left, &clause.right) else { return None };
    if !clause.holds {
        return None;
    }
    let name = match &clause.title {
        Some(title) => title.get(language).to_owned(),
        None => clause.text.split(sign.as_str()).next().unwrap_or("").trim().to_owned(),
    };
    let (left, right) = (grouped(left), grouped(right));
    Some(match language {
        Language::Korean => {
            let relation = match sign.as_str() {
                "<=" => "이하",
                "<" => "미만",
                ">=" => "이상",
                ">" => "초과",
                "!=" => "아님",
                _ => "",
            };
            format!("{name}({left}) {right} {relation}").trim_end().to_owned()
        }
        Language::English => {
            let relation = match sign.as_str() {
                "<=" => "is at most",
                "<" => "is below",
                ">=" => "is at least",
                ">" => "is above",
                "!=" => "is not",
                _ => "is",
            };
            format!("{name} ({left}) {relation} {right}")
        }
    })
}

/// The subject particle that fits the last syllable: 이 after a final consonant, 가 after a vowel.
fn with_subject_particle(text: &str) -> String {
    let particle = match text.chars().last().map(u32::from) {
        Some(last @ 0xAC00..=0xD7A3) => {
            if (last - 0xAC00) % 28 == 0 {
                "가"
            } else {
                "이"
            }
        }
        // Digits as they are read: 일, 삼, 육, 칠, 팔, 영 end in a consonant.
        Some(0x30 | 0x31 | 0x33 | 0x36..=0x38) => "이",
        Some(0x32 | 0x34 | 0x35 | 0x39) => "가",
        _ => "이(가)",
    };
    format!("{text}{particle}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn particles_fit() {
        assert_eq!(with_subject_particle("30,000원"), "30,000원이");
        assert_eq!(with_subject_particle("쿠폰 1개"), "쿠폰 1개가");
    }
}
