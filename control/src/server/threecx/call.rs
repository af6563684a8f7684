//! One call of 3CX's: connected, streamed, handed to the engine, and ended on whichever side.

use std::sync::Arc;
use std::time::Duration;

use offhook_engine::CallId;
use offhook_engine::call::EndReason;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::{Instant, sleep, sleep_until, timeout_at};

use super::Told;
use super::line::{Line, open};
use crate::domain::calls::{Admitted, Incoming};
use crate::domain::onward;
use crate::domain::speech::OfCall;
use crate::domain::time::UnixMs;
use crate::domain::voiceclone;
use crate::integrations::threecx::{Participant, Status, Stream, ThreeCx, ThreeCxError};
use crate::server::App;

/// A route point's calls are connected by themselves. One that rings for so long is answered, once.
const ANSWER_AFTER: Duration = Duration::from_secs(2);
/// One that is not connected then is left alone.
const CONNECTED_WITHIN: Duration = Duration::from_secs(30);
/// How long 3CX may take to stream a call that is connected.
const STREAMED_WITHIN: Duration = Duration::from_secs(3);
/// The last of a goodbye was played by the clock; this is for the way to the caller.
const TAIL: Duration = Duration::from_millis(200);

/// Takes a call from its ring to its end.
pub(super) async fn serve(
    app: Arc<App>,
    client: Arc<ThreeCx>,
    participant: Participant,
    mut told: UnboundedReceiver<Told>,
) {
    let Participant { id, call_id, leg_id, .. } = &participant;
    let span = (*id, call_id.as_str(), leg_id.as_str());
    if !is_connected(&client, &participant, &mut told).await {
        return tracing::info!(
            participant = span.0,
            callid = span.1,
            legid = span.2,
            "a 3CX call was not connected"
        );
    }
    if let Err(busy) = app.has_room() {
        tracing::warn!(carrier_call_id = span.1, reason = %busy, "a call was refused");
        app.calls.refuse(incoming(&app, &participant), &busy.to_string(), UnixMs::now()).await;
        return dropped(&client, *id).await;
    }
    let stream = match open(&client, *id, STREAMED_WITHIN).await {
        Ok(stream) => stream,
        Err(ThreeCxError::Gone) => {
            return tracing::info!(callid = span.1, "a 3CX call was gone before it was answered");
        }
        Err(error) => {
            tracing::error!(%error, participant = span.0, callid = span.1, "a 3CX call cannot be streamed");
            return dropped(&client, *id).await;
        }
    };
    let Admitted { call, scenario, .. } =
        app.calls.fetched(incoming(&app, &participant), UnixMs::now()).await;
    app.calls.answered(&call, &format!("{id}/{leg_id}"), UnixMs::now());
    // Kept while the call lasts.
    let clone = callers_voice(&app, &call, call_id).await;
    let woken = Arc::<Notify>::default();
    let wake = woken.clone();
    let wake = Box::new(move || wake.notify_one());
    let end = match app.hand_over_remote(
        &format!("{id}/{leg_id}"),
        wake,
        call.clone(),
        &scenario,
        clone.as_ref(),
    ) {
        Ok((handle, end)) => {
            tracing::info!(call_id = %call, participant = span.0, callid = span.1, legid = span.2, "call answered");
            app.calls.took_on(&call, handle);
            end
        }
        Err(error) => {
            tracing::error!(call_id = %call, %error, "a call could not be taken on");
            app.calls.not_taken(&call, UnixMs::now());
            return dropped(&client, *id).await;
        }
    };
    let reason = converse(client.clone(), *id, stream, end, woken, &mut told).await;
    end_at_3cx(&app, &client, &participant, call.as_str(), reason).await;
}

/// The caller's voice, if the agent may speak with it.
async fn callers_voice(app: &App, call: &CallId, carrier_call_id: &str) -> Option<Arc<OfCall>> {
    let clones = app.clones.as_ref()?;
    let voice = voiceclone::answers(&app.store, clones, call, carrier_call_id).await;
    voice
        .inspect_err(
            |error| tracing::error!(call_id = %call, %error, "a caller's voice cannot be looked for"),
        )
        .ok()
}

async fn converse(
    client: Arc<ThreeCx>,
    id: u32,
    stream: Stream,
    end: offhook_engine::leg::LegEnd,
    woken: Arc<Notify>,
    told: &mut UnboundedReceiver<Told>,
) -> Option<EndReason> {
    let mut line = Line::new(client, id, stream, end);
    let reason = line.run(&woken, told).await;
    if reason == Some(EndReason::AgentHangup) {
        sleep(TAIL).await;
    }
    reason
}

fn incoming(app: &App, participant: &Participant) -> Incoming {
    let short = |text: &str| text.chars().filter(|c| !c.is_control()).take(128).collect::<String>();
    Incoming {
        carrier: "threecx",
        carrier_call_id: short(&participant.call_id),
        from: short(&participant.caller),
        to: short(&participant.called),
        direction: String::new(),
        scenario: app.answering.scenario_named(None).unwrap_or_default(),
        on_line: None,
    }
}

/// Waits until both sides are there. False if that is not to be.
async fn is_connected(
    client: &ThreeCx,
    participant: &Participant,
    told: &mut UnboundedReceiver<Told>,
) -> bool {
    let began = Instant::now();
    let mut status = participant.status;
    let mut answer_at = Some(began + ANSWER_AFTER);
    while status != Status::Connected {
        let answer = async {
            match answer_at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            news = timeout_at(began + CONNECTED_WITHIN, told.recv()) => match news {
                Ok(Some(Told::Status(now))) => status = now,
                Ok(Some(Told::Keys(_))) => {}
                Ok(Some(Told::Gone) | None) | Err(_) => return false,
            },
            () = answer => {
                answer_at = None;
                if let Err(error) = client.answer(participant.id).await {
                    tracing::warn!(%error, participant = participant.id, "a 3CX call rings on");
                }
            }
        }
    }
    true
}

/// Ends our side of a call that is over, unless the caller did: puts it through to whoever goes on with it, or drops it.
async fn end_at_3cx(
    app: &App,
    client: &ThreeCx,
    participant: &Participant,
    call: &str,
    reason: Option<EndReason>,
) {
    if reason == Some(EndReason::CallerHangup) {
        return;
    }
    let transfers = &app.settings.transfers;
    if transfers.is_any() {
        let ended = onward::ended(&app.store, call).await;
        let ended = ended
            .inspect_err(|error| tracing::error!(%error, "a call's record cannot be read"))
            .ok()
            .flatten();
        if let Some(number) = ended.as_ref().and_then(|ended| onward::goes_on(ended, transfers)) {
            match client.transfer(participant.id, number).await {
                Ok(()) => return tracing::info!(call_id = call, number, "a call is put through"),
                Err(error) => tracing::error!(%error, call_id = call, number, "a call cannot be put through"),
            }
        }
    }
    dropped(client, participant.id).await;
}

/// Drops a call, and tries once more if that fails: a caller left in silence is the worst end.
pub(super) async fn dropped(client: &ThreeCx, id: u32) {
    for _ in 0..2 {
        match client.drop_call(id).await {
            Ok(()) | Err(ThreeCxError::Gone) => return,
            Err(error) => tracing::warn!(%error, participant = id, "a 3CX call could not be dropped"),
        }
    }
}
