//! What users may switch on beside the rest.

/// One add-on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Addon {
    /// A model looks at what was said on ended calls, with the user's own key.
    OpenAiAnalysis,
    /// Twilio is asked whose number called, where nobody knows.
    TwilioEnhancedCallerId,
    /// The model also finds appointments in what was said on reported calls.
    AppointmentsByAi,
}

impl Addon {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::OpenAiAnalysis, Self::TwilioEnhancedCallerId, Self::AppointmentsByAi];

    /// As it stands in records and requests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OpenAiAnalysis => "openai_analysis",
            Self::TwilioEnhancedCallerId => "twilio_enhanced_caller_id",
            Self::AppointmentsByAi => "appointments_by_ai",
        }
    }

    /// The reverse of [`Addon::as_str`].
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|addon| addon.as_str() == text)
    }
}

/// Which add-ons somebody has switched on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Addons {
    /// See [`Addon::OpenAiAnalysis`].
    pub openai_analysis: bool,
    /// See [`Addon::TwilioEnhancedCallerId`].
    pub twilio_enhanced_caller_id: bool,
    /// See [`Addon::AppointmentsByAi`].
    pub appointments_by_ai: bool,
}

impl Addons {
    /// Switches one.
    pub fn switch(&mut self, addon: Addon, on: bool) {
        match addon {
            Addon::OpenAiAnalysis => self.openai_analysis = on,
            Addon::TwilioEnhancedCallerId => self.twilio_enhanced_caller_id = on,
            Addon::AppointmentsByAi => self.appointments_by_ai = on,
        }
    }
}
