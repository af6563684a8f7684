//! Who goes on with a call when its agent is through with it.

use std::time::Duration;

use offhook_engine::call::EndReason;
use tokio::time::{Instant, sleep};

use super::agent::TRANSFERRED_TO;
use super::call::WholeCall;
use crate::settings::TransferSettings;
use crate::store::{Store, StoreError};

/// How long the call's record may take to be complete. The caller waits meanwhile.
const RECORDED_WITHIN: Duration = Duration::from_secs(3);

/// How often it is looked at until then.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The call with its complete record, if there is one in time. `call`: our name for it, or the carrier's.
pub async fn ended(store: &Store, call: &str) -> Result<Option<WholeCall>, StoreError> {
    let give_up = Instant::now() + RECORDED_WITHIN;
    loop {
        let call = store.call(call).await?;
        let is_complete = call.as_ref().is_none_or(|call| call.record.ended.is_some());
        if is_complete || Instant::now() >= give_up {
            return Ok(call);
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Who goes on with a call that is over, if anybody does.
pub fn goes_on<'a>(call: &WholeCall, transfers: &'a TransferSettings) -> Option<&'a str> {
    let failed = [EndReason::AgentFailed, EndReason::EngineFault].map(EndReason::as_str);
    if call.record.end_reason.as_deref().is_some_and(|reason| failed.contains(&reason)) {
        return transfers.fallback.as_ref().map(|number| number.as_str());
    }
    let (_, to) = call.answers.iter().find(|(name, _)| name == TRANSFERRED_TO)?;
    transfers.to.iter().find(|transfer| transfer.name == *to).map(|transfer| transfer.number.as_str())
}
