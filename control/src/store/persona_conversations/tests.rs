use super::*;
use crate::domain::customers::CustomerChanges;
use crate::domain::lines::Page;
use crate::domain::personas::conversations::Citation;
use crate::domain::users::GoogleIdentity;

const IDLE: Duration = Duration::from_secs(60);

struct House {
    store: Store,
    owner: String,
    persona: String,
    customer: String,
    _dir: tempfile::TempDir,
}

async fn house() -> House {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path(), UnixMs(0)).unwrap();
    let identity =
        GoogleIdentity { sub: "1".into(), email: "a@example.com".into(), name: None, picture: None };
    let owner = store.sign_in(identity, UnixMs(1)).await.unwrap().id;
    let persona =
        store.add_persona(&owner, "John".into(), "v".into(), "en".into(), UnixMs(1)).await.unwrap().0;
    let named = CustomerChanges { name: Some("Alice".into()), ..CustomerChanges::default() };
    let customer = store.add_customer(&owner, named, UnixMs(1)).await.unwrap().id;
    House { store, owner, persona, customer, _dir: dir }
}

impl House {
    fn turn(&self, within: Within, question: &str, at: i64) -> Turn {
        Turn {
            id: Uuid::now_v7().to_string(),
            owner: self.owner.clone(),
            persona: self.persona.clone(),
            customer: Some(self.customer.clone()),
            within,
            source: None,
            question: question.into(),
            asked: UnixMs(at),
            answer: format!("{question}!"),
            citations: vec![Citation { product: "p".into(), chunk: "c".into(), score: 0.5 }],
            prompt_tokens: 7,
            completion_tokens: 3,
            at: UnixMs(at + 10),
        }
    }

    async fn say(&self, within: Within, question: &str, at: i64) -> String {
        self.store.add_turn(self.turn(within, question, at), IDLE).await.unwrap()
    }

    async fn seen(&self) -> (u64, Option<UnixMs>) {
        let customer = self.store.customer(&self.owner, &self.customer).await.unwrap();
        (customer.conversations, customer.last_contact)
    }

    async fn ends(&self) -> Vec<(String, i64, Option<i64>, Option<String>)> {
        self.store
            .read(|connection| {
                connection
                    .prepare(
                        "SELECT id, messages, ended_ms, end_reason FROM persona_conversations ORDER BY id",
                    )?
                    .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
                    .collect()
            })
            .await
            .unwrap()
    }
}

fn chat(number: i64) -> Place {
    Place { channel: Channel::Telegram, name: format!("1:{number}") }
}

#[tokio::test]
async fn what_is_said_in_a_conversation_stands_there_in_order_and_counts_for_its_customer() {
    let house = house().await;
    let first = house.say(Within::New, "one", 1_000).await;
    assert_eq!(house.say(Within::Conversation(first.clone()), "two", 2_000).await, first);
    let other = house.say(Within::New, "three", 3_000).await;
    assert_ne!(other, first);
    assert_eq!(house.seen().await, (2, Some(UnixMs(3_000))));
    let House { store, owner, persona, customer, .. } = &house;
    let said = store.messages_of_chat(owner, persona, Some(customer), &first, 3).await.unwrap();
    let texts: Vec<_> = said.iter().map(|message| (message.speaker, message.text.as_str())).collect();
    let expected = [(Speaker::Persona, "one!"), (Speaker::Customer, "two"), (Speaker::Persona, "two!")];
    assert_eq!(texts, expected, "the last three");
    for (owner, persona, customer) in
        [("x", persona.as_str(), None), (owner, "x", None), (owner, persona, Some("x"))]
    {
        let hidden = store.messages_of_chat(owner, persona, customer, &first, 3).await;
        assert!(matches!(hidden, Err(Error::NotFound("Conversation"))));
    }
    let foreign = Turn { owner: "x".into(), ..house.turn(Within::New, "four", 4_000) };
    assert!(matches!(store.add_turn(foreign, IDLE).await, Err(Error::NotFound("Persona"))));
    let unknown = house.turn(Within::Conversation("x".into()), "four", 4_000);
    assert!(matches!(store.add_turn(unknown, IDLE).await, Err(Error::NotFound("Conversation"))));
    let all = store.customers(owner, None, Page::default()).await.unwrap();
    assert_eq!(all.items[0].conversations, 2);
}

#[tokio::test]
async fn an_update_is_answered_once_and_its_answer_is_found_again() {
    let house = house().await;
    let source = Some("telegram:1:5".to_owned());
    let turn = Turn { source: source.clone(), ..house.turn(Within::At(chat(7)), "one", 1_000) };
    let id = house.store.add_turn(turn.clone(), IDLE).await.unwrap();
    let again = Turn { id: Uuid::now_v7().to_string(), answer: "else".into(), ..turn.clone() };
    assert_eq!(house.store.add_turn(again, IDLE).await.unwrap(), id);
    let answered = house.store.answer_to("telegram:1:5").await.unwrap().unwrap();
    assert_eq!(answered, Answered { id: turn.id, persona: house.persona.clone(), text: "one!".into() });
    assert_eq!(house.store.answer_to("telegram:1:6").await.unwrap(), None);
    let open = house.store.open_conversation(chat(7), IDLE, UnixMs(2_000), 9).await.unwrap().unwrap();
    assert_eq!((open.id, open.messages.len()), (id, 2));
}

#[tokio::test]
async fn a_conversation_ends_when_it_was_idle_for_so_long_whenever_that_is_noticed() {
    let house = house().await;
    let first = house.say(Within::At(chat(7)), "one", 1_000).await;
    assert_eq!(house.say(Within::At(chat(7)), "two", 30_000).await, first);
    let by_chat = house.say(Within::New, "hello", 31_000).await;
    let other = house.say(Within::At(chat(8)), "other", 80_000).await;
    assert!(!house.store.end_idle_conversations(IDLE, UnixMs(90_009)).await.unwrap());
    assert!(house.ends().await.iter().all(|(.., ended, _)| ended.is_none()));
    house.store.end_idle_conversations(IDLE, UnixMs(100_000)).await.unwrap();
    let idle = Some("idle".to_owned());
    let ends = house.ends().await;
    assert_eq!(
        ends,
        [
            (first.clone(), 4, Some(90_010), idle.clone()),
            (by_chat.clone(), 2, Some(91_010), idle.clone()),
            (other.clone(), 2, None, None),
        ]
    );
    // Nobody looked in between: it is ended by what is said next.
    let second = house.say(Within::At(chat(8)), "again", 500_000).await;
    assert_ne!(second, other);
    assert_eq!(house.ends().await[2], (other, 2, Some(140_010), idle));
    // By chat it goes on where it was.
    assert_eq!(house.say(Within::Conversation(by_chat.clone()), "back", 600_000).await, by_chat);
    assert_eq!(house.ends().await[1], (by_chat, 4, None, None));
    assert_eq!(house.seen().await.0, 4);
    let gone = house.store.open_conversation(chat(7), IDLE, UnixMs(600_000), 9).await.unwrap();
    assert_eq!(gone, None);
}

#[tokio::test]
async fn what_is_reset_is_over_and_the_next_word_begins_anew() {
    let house = house().await;
    let first = house.say(Within::At(chat(7)), "one", 1_000).await;
    assert!(house.store.end_conversation(chat(7), Ending::Reset, UnixMs(2_000)).await.unwrap());
    assert!(!house.store.end_conversation(chat(7), Ending::Reset, UnixMs(3_000)).await.unwrap());
    assert_eq!(house.store.open_conversation(chat(7), IDLE, UnixMs(3_000), 9).await.unwrap(), None);
    assert_eq!(house.ends().await, [(first.clone(), 2, Some(2_000), Some("reset".into()))]);
    assert_ne!(house.say(Within::At(chat(7)), "two", 4_000).await, first);
}

#[tokio::test]
async fn a_persona_stays_while_somebody_talks_with_it() {
    let house = house().await;
    let House { store, owner, persona, .. } = &house;
    house.say(Within::New, "one", 1_000).await;
    let refused = store.delete_persona(owner, persona, IDLE, UnixMs(61_009)).await;
    assert!(matches!(refused, Err(Error::Conflict(_))), "{refused:?}");
    let call = Place { channel: Channel::Phone, name: "call-1".into() };
    store.begin_conversation(owner, persona, None, call.clone(), UnixMs(62_000)).await.unwrap();
    let refused = store.delete_persona(owner, persona, IDLE, UnixMs(9_000_000)).await;
    assert!(matches!(refused, Err(Error::Conflict(_))), "a call may be silent for long: {refused:?}");
    store.end_conversation(call, Ending::Over, UnixMs(9_000_000)).await.unwrap();
    let (gone, _) = store.delete_persona(owner, persona, IDLE, UnixMs(9_000_000)).await.unwrap();
    assert_eq!(gone.id, *persona);
    assert!(house.ends().await.is_empty());
    assert_eq!(house.seen().await.0, 1, "that they talked stays");
}
