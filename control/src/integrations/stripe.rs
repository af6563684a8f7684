//! Stripe's webhooks: who sent one, and what was paid.
//!
//! Signature: `Stripe-Signature: t=…,v1=…`, HMAC-SHA256 over `t`, a dot and the raw body, with the endpoint's whole secret as
//! text; while a secret is rolled there are several `v1`. <https://docs.stripe.com/webhooks>, by the official SDK 16.1, read
//! 2026-11. Events come twice, late and in any order: what counts is the object that they are about.

use ring::hmac;
use serde_json::Value;

use crate::domain::time::UnixMs;
use crate::hex;
use crate::settings::Prices;

/// How old a signature may be, and how far ahead a clock, in s.
const TOLERANCE_S: i64 = 300;

/// What a webhook tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Stripe's name for it; the same at each delivery.
    pub id: String,
    /// What happened.
    pub kind: String,
    /// What was paid for, if it says that something was.
    pub paid: Option<Paid>,
}

/// Something that was paid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paid {
    /// Stripe's name for what was paid: one checkout, one invoice.
    pub object: String,
    /// Whose line; none if it does not say.
    pub line: Option<String>,
    /// How many seconds; none if nobody knows.
    pub seconds: Option<u32>,
}

/// Why a webhook is not acted on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StripeError {
    /// There is no signature.
    #[error("Stripe-Signature is missing")]
    Unsigned,
    /// It is none that Stripe made with this secret.
    #[error("Stripe-Signature does not match")]
    Forged,
    /// It was made too long ago, or in the future.
    #[error("Stripe-Signature is not of the last five minutes")]
    Stale,
    /// The body is no event.
    #[error("The body is not an event of Stripe's")]
    NoEvent,
}

/// Checks who sent a body.
pub fn verify(secret: &str, header: Option<&str>, body: &[u8], now: UnixMs) -> Result<(), StripeError> {
    let header = header.ok_or(StripeError::Unsigned)?;
    let pairs = || header.split(',').filter_map(|pair| pair.trim().split_once('='));
    let time = pairs().find(|(name, _)| *name == "t").map(|(_, value)| value);
    let time = time.ok_or(StripeError::Forged)?;
    let seconds: i64 = time.parse().map_err(|_| StripeError::Forged)?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let mut signed = format!("{time}.").into_bytes();
    signed.extend_from_slice(body);
    let mut signatures =
        pairs().filter(|(name, _)| *name == "v1").filter_map(|(_, value)| hex::decode::<32>(value)).take(16);
    if !signatures.any(|signature| hmac::verify(&key, &signed, &signature).is_ok()) {
        return Err(StripeError::Forged);
    }
    // Nobody learns from the age whether a signature was right.
    let age = now.0.div_euclid(1_000).saturating_sub(seconds);
    if !(-TOLERANCE_S..=TOLERANCE_S).contains(&age) {
        return Err(StripeError::Stale);
    }
    Ok(())
}

/// The signature of a body, as Stripe makes it, and as this server's own webhooks have it.
pub fn sign(secret: &str, seconds: i64, body: &[u8]) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let mut signed = format!("{seconds}.").into_bytes();
    signed.extend_from_slice(body);
    let tag = hex::encode(hmac::sign(&key, &signed).as_ref());
    format!("t={seconds},v1={tag}")
}

/// Reads an event.
pub fn read(body: &[u8], prices: &Prices) -> Result<Event, StripeError> {
    let event: Value = serde_json::from_slice(body).map_err(|_| StripeError::NoEvent)?;
    let text = |name: &str| {
        let value = event[name].as_str().filter(|text| (1..=256).contains(&text.len()));
        value.map(str::to_owned).ok_or(StripeError::NoEvent)
    };
    let kind = text("type")?;
    let object = &event["data"]["object"];
    // Thin events (v2) have no object: they are taken note of.
    if !object.is_object() && event["object"] != "v2.core.event" {
        return Err(StripeError::NoEvent);
    }
    let id = match text("id") {
        Ok(id) => id,
        Err(error) => {
            // What was paid is known by its object; who leaves the event's id away still says what was paid.
            let object = object["id"].as_str().ok_or(error)?;
            format!("{kind}:{object}")
        }
    };
    let paid = match kind.as_str() {
        "checkout.session.completed" | "checkout.session.async_payment_succeeded" => checkout(object, prices),
        "invoice.paid" | "invoice.payment_succeeded" => invoice(object, prices),
        _ => None,
    };
    Ok(Event { id, kind, paid })
}

/// A checkout counts once it is paid. That of a subscription is paid by its first invoice, which tells of itself.
fn checkout(session: &Value, prices: &Prices) -> Option<Paid> {
    if session["payment_status"] != "paid" || session["mode"] == "subscription" {
        return None;
    }
    let amount = || {
        let (currency, amount) = (session["currency"].as_str()?, session["amount_total"].as_u64()?);
        prices.0.get(&format!("{}:{amount}", currency.to_lowercase())).copied()
    };
    Some(Paid {
        object: session["id"].as_str()?.to_owned(),
        line: line_of(session, &[&session["metadata"]]),
        seconds: seconds_in(&session["metadata"]).or_else(amount),
    })
}

/// An invoice of a subscription. Where its line is written moved between versions of the API.
fn invoice(invoice: &Value, prices: &Prices) -> Option<Paid> {
    let details = [
        &invoice["parent"]["subscription_details"]["metadata"],
        &invoice["subscription_details"]["metadata"],
    ];
    let lines = invoice["lines"]["data"].as_array().map(Vec::as_slice).unwrap_or_default();
    let by_price = || {
        let of = |line: &Value| {
            let price = &line["pricing"]["price_details"]["price"];
            let id =
                price.as_str().or_else(|| line["price"]["id"].as_str()).or_else(|| line["price"].as_str())?;
            let seconds = prices.0.get(&id.to_lowercase())?;
            let quantity = u32::try_from(line["quantity"].as_u64().unwrap_or(1)).ok()?;
            seconds.checked_mul(quantity)
        };
        lines.iter().filter_map(of).reduce(u32::saturating_add)
    };
    let amount = || {
        let (currency, amount) = (invoice["currency"].as_str()?, invoice["amount_paid"].as_u64()?);
        prices.0.get(&format!("{}:{amount}", currency.to_lowercase())).copied()
    };
    let everywhere: Vec<&Value> = std::iter::once(&invoice["metadata"])
        .chain(details)
        .chain(lines.iter().map(|line| &line["metadata"]))
        .collect();
    Some(Paid {
        object: invoice["id"].as_str()?.to_owned(),
        line: line_of(invoice, &everywhere),
        seconds: everywhere
            .iter()
            .find_map(|metadata| seconds_in(metadata))
            .or_else(by_price)
            .or_else(amount),
    })
}

fn line_of(object: &Value, metadata: &[&Value]) -> Option<String> {
    let named = metadata.iter().find_map(|metadata| metadata["client_id"].as_str());
    object["client_reference_id"].as_str().or(named).map(str::to_owned)
}

/// Stripe's metadata is text.
fn seconds_in(metadata: &Value) -> Option<u32> {
    let seconds = &metadata["seconds"];
    let number = seconds.as_u64().and_then(|number| u32::try_from(number).ok());
    number.or_else(|| seconds.as_str()?.trim().parse().ok()).filter(|seconds| *seconds > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SECRET: &str = "whsec_test_secret";
    const BODY: &[u8] = br#"{"id":"evt_test_1","object":"event","type":"checkout.session.completed"}"#;
    const AT: UnixMs = UnixMs(1_700_000_000_000);
    /// Made with Stripe's own package, 16.1.
    const SIGNED: &str = "t=1700000000,v1=ca796b857b81e24d595a4c37abf88d2fafb533a32ede6ce4cfc9b0e892a35b08";

    #[test]
    fn signatures_are_those_of_stripes_own_package() {
        assert_eq!(sign(SECRET, 1_700_000_000, BODY), SIGNED);
        assert_eq!(verify(SECRET, Some(SIGNED), BODY, AT), Ok(()));
        let rolled = format!("t=1700000000,v0=x,v1={},v1={}", "0".repeat(64), &SIGNED[16..]);
        assert_eq!(verify(SECRET, Some(&rolled), BODY, AT), Ok(()), "while a secret is rolled there are two");
    }

    #[test]
    fn what_stripe_did_not_sign_lately_is_refused() {
        let refused = |header: Option<&str>, body: &[u8], at: i64| {
            verify(SECRET, header, body, UnixMs(at)).unwrap_err()
        };
        assert_eq!(refused(None, BODY, AT.0), StripeError::Unsigned);
        assert_eq!(refused(Some(SIGNED), b"{}", AT.0), StripeError::Forged);
        assert_eq!(
            refused(Some(&SIGNED.replace("1700000000", "1700000001")), BODY, AT.0),
            StripeError::Forged
        );
        assert_eq!(refused(Some(&SIGNED.replace("v1", "v0")), BODY, AT.0), StripeError::Forged);
        for header in
            ["", "t=", "v1=", "t=x,v1=y", "t=1700000000", "t=1700000000,v1=zz", "t=9223372036854775808,v1=00"]
        {
            assert_eq!(refused(Some(header), BODY, AT.0), StripeError::Forged, "{header}");
        }
        for at in [AT.0 + 301_000, AT.0 - 301_000] {
            assert_eq!(refused(Some(SIGNED), BODY, at), StripeError::Stale);
        }
        assert!(verify("whsec_other", Some(SIGNED), BODY, AT).is_err());
    }

    fn paid(kind: &str, object: Value) -> Option<Paid> {
        let prices = "usd:1000=3600,price_a=60".parse().unwrap();
        let event = json!({ "id": "evt_1", "object": "event", "type": kind, "data": { "object": object } });
        read(event.to_string().as_bytes(), &prices).unwrap().paid
    }

    #[test]
    fn a_checkout_counts_once_it_is_paid() {
        let session = |status: &str, mode: &str| {
            json!({
                "id": "cs_1", "mode": mode, "payment_status": status, "client_reference_id": "line-1",
                "currency": "usd", "amount_total": 1000,
            })
        };
        let done = paid("checkout.session.completed", session("paid", "payment")).unwrap();
        assert_eq!(
            (done.object.as_str(), done.line.as_deref(), done.seconds),
            ("cs_1", Some("line-1"), Some(3_600))
        );
        assert_eq!(paid("checkout.session.completed", session("unpaid", "payment")), None);
        assert_eq!(paid("checkout.session.async_payment_succeeded", session("paid", "payment")), Some(done));
        assert_eq!(
            paid("checkout.session.completed", session("paid", "subscription")),
            None,
            "its invoice tells"
        );
        assert_eq!(paid("checkout.session.expired", session("unpaid", "payment")), None);
        let told = json!({
            "id": "cs_2", "payment_status": "paid", "metadata": { "client_id": "line-2", "seconds": "90" },
        });
        let told = paid("checkout.session.completed", told).unwrap();
        assert_eq!((told.line.as_deref(), told.seconds), (Some("line-2"), Some(90)));
    }

    #[test]
    fn an_invoice_is_read_in_old_and_new_versions() {
        let old = json!({
            "id": "in_1", "subscription_details": { "metadata": { "client_id": "line-1" } },
            "lines": { "data": [{ "price": { "id": "price_a" }, "quantity": 2 }] },
        });
        let new = json!({
            "id": "in_1", "parent": { "subscription_details": { "metadata": { "client_id": "line-1" } } },
            "lines": { "data": [{ "pricing": { "price_details": { "price": "price_a" } }, "quantity": 2 }] },
        });
        for object in [old, new] {
            let paid = paid("invoice.paid", object).unwrap();
            assert_eq!((paid.line.as_deref(), paid.seconds), (Some("line-1"), Some(120)));
        }
        assert_eq!(paid("invoice.payment_failed", json!({ "id": "in_1" })), None);
        assert_eq!(paid("customer.subscription.deleted", json!({ "id": "sub_1" })), None);
    }

    #[test]
    fn what_is_no_event_is_refused() {
        for body in [
            "",
            "{",
            "[]",
            "null",
            "{}",
            r#"{"type":"x"}"#,
            r#"{"type":1,"data":{"object":{}}}"#,
            r#"{"id":"e","type":"x","data":{}}"#,
        ] {
            assert_eq!(read(body.as_bytes(), &Prices::default()), Err(StripeError::NoEvent), "{body}");
        }
        let thin = r#"{"id":"evt_1","object":"v2.core.event","type":"v1.billing.meter.no_meter_found"}"#;
        assert_eq!(read(thin.as_bytes(), &Prices::default()).unwrap().paid, None);
    }
}
