//! The agent's side of the talk: passes on what the model says, and does what it wants done.

use std::sync::Arc;

use offhook_engine::agent::{Agent, AgentAction, AgentError, Answering};
use offhook_engine::call::{Prompt, Then};
use tokio::sync::mpsc;

use super::Duplex;
use super::talk::{Cause, Order, Piece};
use crate::domain::agent::{LISTEN, ROUNDS, SILENCES_MAX, told, use_tool};
use crate::integrations::openai::ToolCall;

/// A model's side of one call.
pub(super) struct Speaker {
    duplex: Arc<Duplex>,
    /// The id of the call.
    call: String,
    orders: mpsc::UnboundedSender<Order>,
}

/// How a response ended.
struct Response {
    calls: Vec<ToolCall>,
    said: bool,
}

impl Speaker {
    pub(super) fn new(duplex: Arc<Duplex>, call: &str, orders: mpsc::UnboundedSender<Order>) -> Self {
        Self { duplex, call: call.to_owned(), orders }
    }

    async fn turn(&mut self, to: Cause, out: &mut dyn Answering) -> Result<Then, AgentError> {
        let duplex = Arc::clone(&self.duplex);
        let (pieces, mut came) = mpsc::unbounded_channel();
        let _ = self.orders.send(Order::Answer { to, pieces });
        let (mut ends, mut said) = (false, false);
        for round in 0..=ROUNDS {
            let response = pass_on(&mut came, out).await?;
            said |= response.said;
            // A model that does nothing but use tools is not asked for ever.
            if response.calls.is_empty() || round == ROUNDS {
                break;
            }
            let mut outcomes = Vec::with_capacity(response.calls.len());
            for call in response.calls {
                let outcome = use_tool(&duplex.tools, &call, &self.call, out).await;
                ends |= outcome.ends_call;
                outcomes.push((call, outcome.text));
            }
            if ends && said {
                break;
            }
            let _ = self.orders.send(Order::GoOn(outcomes));
        }
        if !said {
            tracing::warn!("the agent's model said nothing");
        }
        Ok(if ends { Then::HangUp } else { LISTEN })
    }
}

/// Passes one response on as it comes.
async fn pass_on(
    came: &mut mpsc::UnboundedReceiver<Piece>,
    out: &mut dyn Answering,
) -> Result<Response, AgentError> {
    let mut response = Response { calls: Vec::new(), said: false };
    let speak = |out: &mut dyn Answering, text: String, ulaw: Vec<u8>, is_last: bool| {
        // Who is called off is dropped by whoever waits for this.
        let _ = out.act(AgentAction::Speak { text, audio: ulaw.into(), is_last });
    };
    loop {
        match came.recv().await {
            Some(Piece::Words(text)) => speak(out, text, Vec::new(), false),
            Some(Piece::Audio(ulaw)) => {
                response.said = true;
                speak(out, String::new(), ulaw, false);
            }
            Some(Piece::Call(call)) => response.calls.push(call),
            Some(Piece::End) => {
                if response.said {
                    speak(out, String::new(), Vec::new(), true);
                }
                return Ok(response);
            }
            Some(Piece::Failed(error)) => {
                return Err(AgentError { why: error.why, detail: error.detail });
            }
            // Called off: whoever waits for this drops it.
            None => std::future::pending().await,
        }
    }
}

impl Agent for Speaker {
    fn answer(&mut self, prompt: &Prompt, out: &mut dyn Answering) -> Result<Then, AgentError> {
        let to = match prompt {
            Prompt::Silence(SILENCES_MAX..) => return Ok(Then::HangUp),
            Prompt::CallStarted if !self.duplex.greeting.trim().is_empty() => Cause::Instructed(format!(
                "The call begins. Greet the caller with exactly these words, and nothing else: {}",
                self.duplex.greeting
            )),
            Prompt::Spoke => Cause::Speech,
            prompt => Cause::Told(told(prompt)),
        };
        let called_off = out.wanted().called_off();
        let runtime = self.duplex.runtime.clone();
        let turn = runtime.block_on(async {
            tokio::select! {
                biased;
                () = called_off => None,
                turn = self.turn(to, out) => Some(turn),
            }
        });
        turn.unwrap_or_else(|| {
            let _ = self.orders.send(Order::Stop);
            Ok(LISTEN)
        })
    }

    fn forget_last(&mut self) {
        let _ = self.orders.send(Order::Cut { heard: String::new(), samples: 0 });
    }

    fn was_cut(&mut self, heard: &str, spoken_heard: u32) {
        let _ = self.orders.send(Order::Cut { heard: heard.to_owned(), samples: spoken_heard });
    }
}
