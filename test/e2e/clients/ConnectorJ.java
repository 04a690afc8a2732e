// What MariaDB Connector/J sees: prepared on the server, batches, cursors by fetch size, a cancel. Run as source
// (`java ConnectorJ.java`); prints one line `name=value` a finding.
import java.sql.Connection;
import java.sql.DriverManager;
import java.sql.PreparedStatement;
import java.sql.ResultSet;
import java.sql.SQLException;
import java.sql.Statement;
import java.util.Arrays;

public class ConnectorJ {
  static void found(String name, Object value) {
    System.out.println(name + "=" + value);
  }

  static Connection connect() throws SQLException {
    String url = "jdbc:mariadb://" + System.getenv("HOST") + ":" + System.getenv("PORT") + "/" + System.getenv("DATABASE");
    String tls = System.getenv("CA") == null ? "" : "&useSsl=true&serverSslCert=" + System.getenv("CA");
    return DriverManager.getConnection(url + "?useServerPrepStmts=true" + tls, System.getenv("USERNAME"), System.getenv("PASSWORD"));
  }

  static String first(Statement statement, String text) throws SQLException {
    try (ResultSet rows = statement.executeQuery(text)) {
      rows.next();
      return rows.getString(1);
    }
  }

  static int failing(Statement statement, String text) {
    try {
      statement.execute(text);
      return 0;
    } catch (SQLException error) {
      return error.getErrorCode();
    }
  }

  public static void main(String[] args) throws Exception {
    try (Connection connection = connect(); Statement statement = connection.createStatement()) {
      found("user", first(statement, "select current_user()"));
      try (PreparedStatement by = connection.prepareStatement("select name from item where id = ?")) {
        StringBuilder names = new StringBuilder();
        for (int id = 1; id <= 3; id++) {
          by.setInt(1, id);
          try (ResultSet rows = by.executeQuery()) {
            rows.next();
            names.append(rows.getString(1)).append(';');
          }
        }
        found("prepared", names);
      }
      byte[] bytes = {0, 1, -1, -128, 39, 92, 10};
      try (PreparedStatement same = connection.prepareStatement("select cast(? as binary), ?")) {
        same.setBytes(1, bytes);
        same.setString(2, null);
        try (ResultSet rows = same.executeQuery()) {
          rows.next();
          found("bytes", Arrays.equals(rows.getBytes(1), bytes) && rows.getString(2) == null);
        }
      }
      found("errors", failing(statement, "selec") + "," + failing(statement, "insert into item values (0, '')"));
      found("after", first(statement, "select 1"));

      statement.execute("create temporary table t (n int, s text) engine=innodb");
      connection.setAutoCommit(false);
      statement.execute("insert into t values (1, 'kept')");
      connection.commit();
      statement.execute("insert into t values (2, 'lost')");
      connection.rollback();
      connection.setAutoCommit(true);
      found("transaction", first(statement, "select group_concat(s) from t"));
      try (PreparedStatement insert = connection.prepareStatement("insert into t values (?, 'batch')")) {
        for (int n = 0; n < 500; n++) {
          insert.setInt(1, n);
          insert.addBatch();
        }
        insert.executeBatch();
      }
      found("batch", first(statement, "select count(*) from t where s = 'batch'"));

      try (PreparedStatement slow = connection.prepareStatement("select id from item order by id")) {
        slow.setFetchSize(100);
        int count = 0;
        try (ResultSet rows = slow.executeQuery()) {
          while (rows.next()) count++;
        }
        found("cursor", count);
      }

      String whole = "0123456789abcdef".repeat(1310720);
      try (PreparedStatement large = connection.prepareStatement("select ?")) {
        large.setString(1, whole);
        try (ResultSet rows = large.executeQuery()) {
          rows.next();
          found("large", rows.getString(1).equals(whole));
        }
      }

      try (Connection other = connect(); Statement watch = other.createStatement()) {
        Thread canceller = new Thread(() -> {
          try {
            String running = "select count(*) from information_schema.processlist where info like 'select sleep(60) as connector%'";
            while (!"1".equals(first(watch, running))) Thread.sleep(20);
            statement.cancel();
          } catch (Exception error) {
            found("canceller", error);
          }
        });
        canceller.start();
        found("cancel", failing(statement, "select sleep(60) as connector"));
        canceller.join();
      }
      found("afterCancel", first(statement, "select 1"));
    }
  }
}
