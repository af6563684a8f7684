use super::*;
use crate::settings::Settings;

struct Fixture {
    accounts: Accounts,
    dir: tempfile::TempDir,
}

fn settings(dir: &std::path::Path) -> Settings {
    let mut settings = Settings::local(dir.into());
    settings.frontdesk.admins = vec!["admin@example.com".into()];
    settings
}

fn opened(dir: tempfile::TempDir, environment: Environment) -> Fixture {
    let store = Arc::new(Store::open(dir.path(), UnixMs(0)).unwrap());
    let settings = Settings { environment, ..settings(dir.path()) };
    let signer = Signer::new(b"a secret of some length", "dashboard");
    Fixture { accounts: Accounts::new(&settings, store, Some(signer)), dir }
}

fn fixture(environment: Environment) -> Fixture {
    opened(tempfile::tempdir().unwrap(), environment)
}

fn registration(email: &str, password: &str) -> Registration {
    Registration { email: email.into(), password: password.into(), name: None, vouched: false }
}

const NOW: UnixMs = UnixMs(1_770_000_000_000);

#[tokio::test]
async fn who_registers_signs_in_by_the_same_words_in_any_case_of_the_address() {
    let fixture = fixture(Environment::Development);
    let accounts = &fixture.accounts;
    let new = accounts.register(registration(" Pat@Example.com", "correct horse"), NOW).await.unwrap();
    assert_eq!(
        (new.account.email.as_str(), new.account.name.as_str()),
        ("pat@example.com", "pat@example.com")
    );
    let again = accounts.log_in("PAT@example.com ", "correct horse".into(), NOW).await.unwrap();
    assert_eq!(again.account, new.account);
    let session = accounts.session(&again.token, NOW).unwrap();
    assert_eq!(session.expires, UnixMs(NOW.0 + 7 * 86_400_000));
    assert_eq!(accounts.account(&session).await.unwrap(), Some(new.account));
    for (email, password) in
        [("pat@example.com", "correct horse "), ("nobody@example.com", "correct horse"), ("", "")]
    {
        let refused = accounts.log_in(email, password.into(), NOW).await.unwrap_err();
        assert!(matches!(refused, AccountError::Wrong), "{email}: {refused}");
    }
}

#[tokio::test]
async fn an_address_is_registered_once_and_weak_words_never() {
    let fixture = fixture(Environment::Development);
    let register =
        |email: &str, password: &str| fixture.accounts.register(registration(email, password), NOW);
    register("pat@example.com", "correct horse").await.unwrap();
    assert!(matches!(register("PAT@example.com", "another horse").await, Err(AccountError::Taken)));
    for email in
        ["", "pat", "@example.com", "pat@", "a@b@c.de", "pat@example", "pat@example.", "a b@c.de", "a\n@b.de"]
    {
        let refused = register(email, "correct horse").await.unwrap_err();
        assert!(matches!(refused, AccountError::Invalid { field: "email", .. }), "{email}");
    }
    for password in ["", "short12", "aaaaaaaaaaaa", "someone@example.com"] {
        let refused = register("someone@example.com", password).await.unwrap_err();
        assert!(matches!(refused, AccountError::Invalid { field: "password", .. }), "{password}");
    }
}

#[tokio::test]
async fn a_token_that_was_given_back_stays_so_after_a_restart_and_others_stay_good() {
    let first = fixture(Environment::Development);
    let accounts = &first.accounts;
    let one = accounts.register(registration("pat@example.com", "correct horse"), NOW).await.unwrap().token;
    let two = accounts.log_in("pat@example.com", "correct horse".into(), NOW).await.unwrap().token;
    let [one, two] = [one, two].map(|token| accounts.session(&token, NOW).unwrap());
    accounts.log_out(&one, NOW).await.unwrap();
    accounts.log_out(&one, NOW).await.unwrap();
    assert_eq!(accounts.account(&one).await.unwrap(), None);
    assert!(accounts.account(&two).await.unwrap().is_some());
    accounts.store.close();
    let Fixture { accounts, dir } = first;
    drop(accounts);
    let later = opened(dir, Environment::Development);
    assert_eq!(later.accounts.account(&one).await.unwrap(), None);
    assert!(later.accounts.account(&two).await.unwrap().is_some());
}

#[tokio::test]
async fn in_production_an_admins_address_takes_a_token_of_the_operators() {
    let fixture = fixture(Environment::Production);
    let accounts = &fixture.accounts;
    let typed = registration("Admin@example.com", "correct horse");
    assert!(matches!(accounts.register(typed.clone(), NOW).await, Err(AccountError::Reserved)));
    let other = accounts.register(registration("pat@example.com", "correct horse"), NOW).await.unwrap();
    assert!(!accounts.is_admin(&other.account));
    let admin = accounts.register(Registration { vouched: true, ..typed }, NOW).await.unwrap();
    assert!(accounts.is_admin(&admin.account));
    let unvouched = Account { vouched: false, ..admin.account };
    assert!(!accounts.is_admin(&unvouched), "an address that was typed in proves nothing");
    assert!(accounts.is_admin(&Account { verified_email: Some("Admin@example.com".into()), ..unvouched }));
}

#[tokio::test]
async fn what_is_a_google_users_is_the_accounts_once_both_are_joined_and_only_then() {
    use crate::domain::call::Announcement;
    use crate::domain::lines::{Assistant, NewLine, Page, VoiceProvider};
    use crate::domain::phone::E164;
    use crate::domain::users::GoogleIdentity;
    let fixture = fixture(Environment::Production);
    let (accounts, store) = (&fixture.accounts, &fixture.accounts.store);
    let identity = GoogleIdentity { sub: "g".into(), email: "admin@example.com".into(), name: None };
    let google = store.sign_in(identity.clone(), NOW).await.unwrap();
    let new = NewLine {
        owner: google.id.clone(),
        name: "Acme".into(),
        number: E164::parse("+15551234567").unwrap(),
        calendar: "primary".into(),
        assistant: Assistant {
            prompt: String::new(),
            greeting: String::new(),
            llm_model: "openai/gpt-4o-mini".into(),
            stt_model: "nova-2-phonecall".into(),
            tts_provider: VoiceProvider::Cartesia,
            tts_voice: String::new(),
            tools: Vec::new(),
        },
        balance_s: 0,
        active: true,
    };
    let line = store.add_line(new, NOW).await.unwrap();
    let announcement = Announcement {
        call: offhook_engine::CallId::new("0a").unwrap(),
        carrier: "twilio",
        carrier_call_id: "CA1".into(),
        from: "+15005550009".into(),
        to: String::new(),
        direction: "inbound".into(),
        scenario: "s".into(),
        on_line: Some(Box::new(crate::domain::call::OnLine { line: line.id.clone(), caller: None })),
        owner_email: None,
        at: NOW,
    };
    store.announce(announcement).await.unwrap();
    // The same address, typed in, is nobody's but who typed it.
    let typed = Registration { vouched: true, ..registration("admin@example.com", "correct horse") };
    let pat = accounts.register(typed, NOW).await.unwrap().account;
    let runs = async |user: &str| store.running_calls(user, Page::default()).await.unwrap().len();
    assert_eq!((runs(&pat.id).await, runs(&google.id).await), (0, 1));
    accounts.join(&pat, &google.id).await.unwrap();
    assert_eq!(runs(&pat.id).await, 1);
    assert_eq!(store.line(&pat.id, &line.id).await.unwrap().owner, pat.id);
    assert_eq!(store.assistants(&pat.id, Page::default()).await.unwrap()[0].name, "Acme");
    assert_eq!(store.sign_in(identity, NOW).await.unwrap().id, pat.id, "Google leads to the account");
    for (account, google) in [(&pat, &google.id), (&pat, &pat.id)] {
        assert!(matches!(accounts.join(account, google).await, Err(AccountError::Joined)));
    }
    let bea = accounts.register(registration("bea@example.com", "correct horse"), NOW).await.unwrap().account;
    assert!(matches!(accounts.join(&bea, &pat.id).await, Err(AccountError::Joined)), "nobody is taken over");
}
