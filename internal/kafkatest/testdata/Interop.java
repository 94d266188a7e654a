import java.io.BufferedReader;
import java.io.FileInputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Properties;
import java.util.Random;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.serialization.ByteArraySerializer;
import org.apache.kafka.common.utils.Exit;
import org.apache.kafka.tools.ConsoleProducer;
import org.apache.kafka.tools.consumer.ConsoleConsumer;

/**
 * Runs Kafka's own clients, many in one process. Each line of the input is a command, its arguments apart by tabs; each is
 * answered by a line that is "ok" or what went wrong.
 *
 * <pre>
 * produce FILE ARGUMENT...   ConsoleProducer, with the file as its input
 * consume FILE ARGUMENT...   ConsoleConsumer, with the file as its output
 * transactions FILE BROKER TOPIC SEED
 *                            writes to partition 0 with and without transactions, of which the last stays open; the
 *                            file gets "OFFSET STATE VALUE" a record, with a state of committed, aborted, open, behind
 * end                        commits the open transaction
 * </pre>
 */
public class Interop {
  static final class Exited extends Error {
    final int code;

    Exited(int code) {
      super("exit " + code);
      this.code = code;
    }
  }

  static final List<Runnable> hooks = new ArrayList<>();
  static KafkaProducer<byte[], byte[]> open;

  public static void main(String[] args) throws Exception {
    PrintStream answers = System.out;
    Exit.setExitProcedure((code, message) -> { throw new Exited(code); });
    Exit.setHaltProcedure((code, message) -> { throw new Exited(code); });
    Exit.setShutdownHookAdder((name, hook) -> hooks.add(hook));
    BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
    for (String line; (line = commands.readLine()) != null; ) {
      try {
        run(line.split("\t"));
        answers.println("ok");
      } catch (Throwable e) {
        e.printStackTrace();
        answers.println(e);
      }
      answers.flush();
    }
  }

  static void run(String[] words) throws Exception {
    switch (words[0]) {
      case "produce":
        try (FileInputStream in = new FileInputStream(words[1])) {
          System.setIn(in);
          tool(() -> ConsoleProducer.main(Arrays.copyOfRange(words, 2, words.length)));
        }
        break;
      case "consume":
        try (PrintStream out = new PrintStream(words[1])) {
          System.setOut(out);
          tool(() -> ConsoleConsumer.main(Arrays.copyOfRange(words, 2, words.length)));
        }
        break;
      case "transactions":
        try (PrintStream out = new PrintStream(words[1])) {
          transactions(out, words[2], words[3], Long.parseLong(words[4]));
        }
        break;
      case "end":
        open.commitTransaction();
        open.close();
        break;
      default:
        throw new IllegalArgumentException(words[0]);
    }
  }

  interface Tool {
    void run() throws Exception;
  }

  static void tool(Tool t) throws Exception {
    hooks.clear();
    try {
      t.run();
    } catch (Exited e) {
      if (e.code != 0) {
        throw e;
      }
    }
    for (Runnable hook : hooks) {
      hook.run();
    }
  }

  static KafkaProducer<byte[], byte[]> producer(String broker, String transaction, String compression) {
    Properties p = new Properties();
    p.put("bootstrap.servers", broker);
    p.put("key.serializer", ByteArraySerializer.class);
    p.put("value.serializer", ByteArraySerializer.class);
    p.put("compression.type", compression);
    p.put("linger.ms", "2");
    if (transaction != null) {
      p.put("transactional.id", transaction);
    }
    KafkaProducer<byte[], byte[]> made = new KafkaProducer<>(p);
    if (transaction != null) {
      made.initTransactions();
    }
    return made;
  }

  /** One producer's transaction: the lines of its records, which wait for their state. */
  static final class Transaction {
    final KafkaProducer<byte[], byte[]> producer;
    final List<String[]> records = new ArrayList<>();
    boolean begun;

    Transaction(KafkaProducer<byte[], byte[]> producer) {
      this.producer = producer;
    }

    void end(boolean commit) {
      if (!begun) {
        return;
      }
      if (commit) {
        producer.commitTransaction();
      } else {
        producer.abortTransaction();
      }
      for (String[] r : records) {
        r[1] = commit ? "committed" : "aborted";
      }
      records.clear();
      begun = false;
    }
  }

  static String[] send(KafkaProducer<byte[], byte[]> producer, String topic, String value) throws Exception {
    return send(producer, topic, List.of(value)).get(0);
  }

  /** Sends values together, in a batch or two. */
  static List<String[]> send(KafkaProducer<byte[], byte[]> producer, String topic, List<String> values) throws Exception {
    List<Future<RecordMetadata>> sent = new ArrayList<>();
    for (String value : values) {
      sent.add(producer.send(new ProducerRecord<>(topic, 0, null, value.getBytes(StandardCharsets.UTF_8))));
    }
    producer.flush();
    List<String[]> out = new ArrayList<>();
    for (int i = 0; i < values.size(); i++) {
      out.add(new String[] {Long.toString(sent.get(i).get().offset()), "committed", values.get(i)});
    }
    return out;
  }

  static void transactions(PrintStream out, String broker, String topic, long seed) throws Exception {
    Random random = new Random(seed);
    List<String[]> all = new ArrayList<>();
    Transaction[] some = {
      new Transaction(producer(broker, topic + "-a", "lz4")),
      new Transaction(producer(broker, topic + "-b", "zstd")),
      new Transaction(producer(broker, topic + "-c", "none")),
    };
    try (KafkaProducer<byte[], byte[]> simple = producer(broker, null, "gzip")) {
      int n = 0;
      for (int step = 0; step < 150; step++) {
        int which = random.nextInt(some.length + 1);
        if (which == some.length) {
          all.add(send(simple, topic, "simple " + n++));
          continue;
        }
        Transaction t = some[which];
        if (!t.begun) {
          t.producer.beginTransaction();
          t.begun = true;
        }
        List<String> values = new ArrayList<>();
        for (int i = 0; i <= random.nextInt(4); i++) {
          values.add("transaction " + which + " " + n++ + " " + "x".repeat(random.nextInt(500)));
        }
        for (String[] r : send(t.producer, topic, values)) {
          t.records.add(r);
          all.add(r);
        }
        if (random.nextInt(3) == 0) {
          t.end(random.nextBoolean());
        }
      }
      for (Transaction t : some) {
        t.end(random.nextBoolean());
        t.producer.close();
      }
      open = producer(broker, topic + "-d", "none");
      open.beginTransaction();
      String[] r = send(open, topic, "open " + n++);
      r[1] = "open";
      all.add(r);
      r = send(simple, topic, "simple " + n++);
      r[1] = "behind";
      all.add(r);
    }
    for (String[] r : all) {
      out.println(String.join(" ", r));
    }
  }
}
