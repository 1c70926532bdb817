//! How a model is asked to answer: which parameters there are, which of them a model takes, and
//! whose word counts when several say something.

use super::text::TextError;

pub use entity::{Effort, Parameters};

/// Stop texts may not be longer than this, in characters.
const MAX_STOP_CHARS: usize = 200;

/// Which parameters a wire format can carry, and within which bounds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Capabilities {
    pub max_temperature: f64,
    /// Stop texts at most; 0: none are taken.
    pub max_stop: usize,
    pub seed: bool,
    pub reasoning_effort: bool,
}

/// Why a model does not take a parameter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{field}` {rule} for the model {model:?}")]
pub struct ParameterError {
    pub field: &'static str,
    pub rule: String,
    pub model: String,
}

/// The first of these that says something, parameter by parameter.
#[must_use]
pub fn first_of<'a>(levels: impl IntoIterator<Item = &'a Parameters>) -> Parameters {
    levels
        .into_iter()
        .fold(Parameters::default(), |known, level| Parameters {
            temperature: known.temperature.or(level.temperature),
            top_p: known.top_p.or(level.top_p),
            max_tokens: known.max_tokens.or(level.max_tokens),
            stop: known.stop.or_else(|| level.stop.clone()),
            seed: known.seed.or(level.seed),
            reasoning_effort: known.reasoning_effort.or(level.reasoning_effort),
        })
}

/// What of these a model can be asked. A chat may have been given them for another model.
#[must_use]
pub fn taken(parameters: Parameters, can: &Capabilities, most_tokens: Option<u32>) -> Parameters {
    let stop = parameters.stop.map(|mut stop| {
        stop.truncate(can.max_stop);
        stop
    });
    Parameters {
        temperature: parameters.temperature.map(|t| t.min(can.max_temperature)),
        top_p: parameters.top_p,
        max_tokens: match (parameters.max_tokens, most_tokens) {
            (Some(wanted), Some(most)) => Some(wanted.min(most)),
            (wanted, _) => wanted,
        },
        stop: stop.filter(|stop| !stop.is_empty()),
        seed: parameters.seed.filter(|_| can.seed),
        reasoning_effort: parameters.reasoning_effort.filter(|_| can.reasoning_effort),
    }
}

/// Whether they can be stored, whatever model takes them.
///
/// # Errors
/// If they hold U+0000.
pub fn check_storable(parameters: &Parameters) -> Result<(), TextError> {
    let mut texts = parameters.stop.iter().flatten();
    if texts.any(|text| text.contains('\0')) {
        return Err(TextError::Nul { field: "stop" });
    }
    Ok(())
}

/// Whether a model takes these.
///
/// # Errors
/// Names the first that it does not take, and the rule.
pub fn check(
    parameters: &Parameters,
    can: &Capabilities,
    most_tokens: Option<u32>,
    model: &str,
) -> Result<(), ParameterError> {
    let refuse = |field: &'static str, rule: String| {
        Err(ParameterError {
            field,
            rule,
            model: model.to_owned(),
        })
    };
    if let Some(temperature) = parameters.temperature
        && !(0.0..=can.max_temperature).contains(&temperature)
    {
        let most = can.max_temperature;
        return refuse("temperature", format!("must be from 0 to {most}"));
    }
    if let Some(top_p) = parameters.top_p
        && !(top_p > 0.0 && top_p <= 1.0)
    {
        return refuse("top_p", "must be above 0 and at most 1".to_owned());
    }
    match (parameters.max_tokens, most_tokens) {
        (Some(0), _) => return refuse("max_tokens", "must be at least 1".to_owned()),
        (Some(wanted), Some(most)) if wanted > most => {
            return refuse("max_tokens", format!("must be from 1 to {most}"));
        }
        _ => {}
    }
    if let Some(stop) = &parameters.stop {
        let is_text = |text: &String| (1..=MAX_STOP_CHARS).contains(&text.chars().count());
        if stop.len() > can.max_stop {
            let most = can.max_stop;
            return refuse("stop", format!("must be {most} texts at most"));
        }
        if !stop.iter().all(is_text) {
            let rule = format!("must be texts of 1 to {MAX_STOP_CHARS} characters");
            return refuse("stop", rule);
        }
        if stop.iter().any(|text| text.contains('\0')) {
            let rule = "must not hold the character U+0000, which cannot be stored";
            return refuse("stop", rule.to_owned());
        }
    }
    if parameters.seed.is_some() && !can.seed {
        return refuse("seed", "is not taken".to_owned());
    }
    if parameters.reasoning_effort.is_some() && !can.reasoning_effort {
        return refuse("reasoning_effort", "is not taken".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Capabilities = Capabilities {
        max_temperature: 2.0,
        max_stop: 4,
        seed: true,
        reasoning_effort: true,
    };
    const FEW: Capabilities = Capabilities {
        max_temperature: 1.0,
        max_stop: 1,
        seed: false,
        reasoning_effort: false,
    };

    type Change = fn(&mut Parameters);

    fn all() -> Parameters {
        Parameters {
            temperature: Some(1.5),
            top_p: Some(1.0),
            max_tokens: Some(100),
            stop: Some(vec!["a".into(), "b".into()]),
            seed: Some(-7),
            reasoning_effort: Some(Effort::High),
        }
    }

    #[test]
    fn a_model_takes_what_its_provider_can_carry() {
        assert_eq!(check(&all(), &ALL, Some(100), "m"), Ok(()));
        let refused = |change: Change, can: &Capabilities| {
            let mut parameters = all();
            change(&mut parameters);
            let refused = check(&parameters, can, Some(100), "m").unwrap_err();
            refused.to_string()
        };
        let cases: [(Change, &str); 8] = [
            (
                |p| p.temperature = Some(2.1),
                "`temperature` must be from 0 to 2",
            ),
            (|p| p.temperature = Some(f64::NAN), "`temperature`"),
            (|p| p.top_p = Some(0.0), "`top_p`"),
            (
                |p| p.max_tokens = Some(101),
                "`max_tokens` must be from 1 to 100",
            ),
            (
                |p| p.max_tokens = Some(0),
                "`max_tokens` must be at least 1",
            ),
            (
                |p| p.stop = Some(vec!["x".into(); 5]),
                "`stop` must be 4 texts",
            ),
            (
                |p| p.stop = Some(vec![String::new()]),
                "`stop` must be texts",
            ),
            (|p| p.top_p = Some(1.5), "`top_p`"),
        ];
        for (change, said) in cases {
            let complaint = refused(change, &ALL);
            assert!(complaint.starts_with(said), "{complaint}");
        }
        assert!(refused(|p| p.temperature = None, &FEW).starts_with("`stop`"));
        let seed = |p: &mut Parameters| {
            p.temperature = None;
            p.stop = None;
        };
        assert_eq!(
            refused(seed, &FEW),
            "`seed` is not taken for the model \"m\""
        );
    }

    #[test]
    fn what_a_model_cannot_be_asked_is_left_out_when_a_chat_changes_its_model() {
        let left = taken(all(), &FEW, Some(50));
        let expected = Parameters {
            temperature: Some(1.0),
            top_p: Some(1.0),
            max_tokens: Some(50),
            stop: Some(vec!["a".into()]),
            ..Parameters::default()
        };
        assert_eq!(left, expected);
    }

    #[test]
    fn the_nearest_word_counts() {
        let near = Parameters {
            temperature: Some(0.0),
            ..Parameters::default()
        };
        let merged = first_of([&near, &all()]);
        assert_eq!((merged.temperature, merged.seed), (Some(0.0), Some(-7)));
    }
}
